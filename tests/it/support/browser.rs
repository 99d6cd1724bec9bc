//! A real headless Chromium, driven through chromedriver; both come from Debian's packages
//! `chromium` and `chromium-driver`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use super::eventually::eventually;

/// How long a page may take to follow a change.
pub const SOON: Duration = Duration::from_secs(15);

/// One browser with an empty profile; ended when dropped.
pub struct Browser {
    pub client: Client,
    driver: Child,
    _folder: TempDir,
}

impl Browser {
    /// Starts chromedriver on a free port, and Chromium.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", folder.path())
            .env("HOME", folder.path())
            // Its own group, so that nothing of the browser outlives the test.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; on Debian: apt-get install chromium chromium-driver");
        let port = BufReader::new(driver.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
        let port: u16 = port.expect("chromedriver says its port");
        let profile = folder.path().join("profile");
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--hide-scrollbars", format!("--user-data-dir={}", profile.display()),
            ] },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object literal") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        Self { client, driver, _folder: folder }
    }

    /// Opens a page in a window of this size and colour scheme ("light" or "dark").
    pub async fn open(&self, url: &str, width: u32, height: u32, scheme: &str) {
        let phone = width < 600;
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", scheme).await;
        self.client.goto(url).await.expect("the page opens");
    }

    /// Runs a script and returns its value.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// Waits until the script's value is true.
    pub async fn until(&self, what: &str, script: &str) {
        eventually(what, SOON, async || self.run(script).await == true).await;
    }

    /// The text of the first element that matches; `None` without one.
    pub async fn text(&self, css: &str) -> Option<String> {
        self.run(&format!("return document.querySelector({css:?})?.textContent ?? null"))
            .await
            .as_str()
            .map(str::to_owned)
    }

    /// Clicks like a person: the element must be visible.
    pub async fn click(&self, css: &str) {
        let element = self.client.find(Locator::Css(css)).await.expect("it is there");
        element.click().await.expect("it can be clicked");
    }

    /// What a scanner reads from the QR as it is painted; `None` while it reads nothing.
    pub async fn scan(&self) -> Option<String> {
        let element = self.client.find(Locator::Css("svg.qr")).await.ok()?;
        let png = BASE64_STANDARD.encode(element.screenshot().await.ok()?);
        // Chromium decodes its own screenshot, which spares us a PNG library.
        let pixels = self
            .client
            .execute_async(
                "const [png, done] = arguments;
                 const image = new Image();
                 image.onload = () => {
                     const canvas = document.createElement('canvas');
                     [canvas.width, canvas.height] = [image.width, image.height];
                     const context = canvas.getContext('2d');
                     context.drawImage(image, 0, 0);
                     const { data } = context.getImageData(0, 0, image.width, image.height);
                     let dark = '';
                     for (let i = 0; i < data.length; i += 4) dark += data[i] < 128 ? '1' : '0';
                     done([image.width, image.height, dark]);
                 };
                 image.src = 'data:image/png;base64,' + png;",
                vec![png.into()],
            )
            .await
            .ok()?;
        let side = |n: usize| usize::try_from(pixels[n].as_u64().expect("a size")).expect("small");
        let (width, height, dark) = (side(0), side(1), pixels[2].as_str().expect("pixels").as_bytes());
        let mut image =
            rqrr::PreparedImage::prepare_from_bitmap(width, height, |x, y| dark[y * width + x] == b'1');
        let grids = image.detect_grids();
        Some(grids.first()?.decode().ok()?.1)
    }

    /// Waits until a scanner reads this payload.
    pub async fn until_scanned(&self, payload: &str) {
        eventually(&format!("the QR {payload} is painted"), SOON, async || {
            self.scan().await.as_deref() == Some(payload)
        })
        .await;
    }

    /// The page as PNG, to its full height.
    pub async fn picture(&self) -> Vec<u8> {
        let answer = self
            .devtools("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }))
            .await;
        BASE64_STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }

    /// What the console said since the last call, warnings and errors only.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.vendor("se/log", json!({ "type": "browser" })).await;
        log.as_array()
            .expect("log entries")
            .iter()
            .filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")))
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.vendor("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Vendor { path, body }).await.expect("chromedriver knows the command")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // On SIGTERM chromedriver ends its Chromium; the group gets whatever is left.
        let _ = Command::new("kill").arg("-TERM").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}

/// A command of chromedriver beside the standard.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
