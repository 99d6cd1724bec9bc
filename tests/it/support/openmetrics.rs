//! `/metrics` as the strict reference parser reads it.

use serde_json::Value;

use super::python;

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    pub text: String,
    families: Value,
}

impl Scrape {
    /// Asks a page; the text must pass the parser.
    pub async fn of(url: &str, token: &str) -> Self {
        let asked = super::http::client().get(url).bearer_auth(token);
        let answer = asked.send().await.expect("it answers");
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        Self::read(answer.text().await.expect("a text"))
    }

    /// Reads a text.
    pub fn read(text: String) -> Self {
        let parsed = python::run("openmetrics.py", &text);
        let parsed = parsed.unwrap_or_else(|error| panic!("the parser refuses it: {error}\n{text}"));
        Self { families: serde_json::from_str(&parsed).expect("JSON"), text }
    }

    /// What is known of a family.
    pub fn family(&self, name: &str) -> &Value {
        let family = &self.families[name];
        assert!(family.is_object(), "there is no {name}:\n{}", self.text);
        family
    }

    /// The names of all families.
    pub fn names(&self) -> Vec<&str> {
        self.families.as_object().expect("families").keys().map(String::as_str).collect()
    }

    /// The sum of the samples with these labels, whatever other labels they have; 0 without any.
    pub fn sum(&self, sample: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.families.as_object().expect("families").values();
        let samples = families.flat_map(|family| family["samples"].as_array().expect("samples"));
        samples
            .filter(|found| found[0] == sample)
            .filter(|found| labels.iter().all(|(name, value)| found[1][*name] == *value))
            .map(|found| found[2].as_f64().expect("a number"))
            .sum()
    }
}
