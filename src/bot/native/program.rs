//! A program that writes the reply to a command.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::bot::hosted::child::environment;
use crate::config::inherited;

/// What it may write, in bytes.
const OUTPUT: u64 = 65_536;
/// Characters of a message that WhatsApp shows without folding it; what is longer is cut.
const SHOWN: usize = 4096;

/// Why there is no reply. Says nothing of the message.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    #[error("there is no program")]
    Empty,
    #[error("it could not be started: {0}")]
    Start(std::io::Error),
    #[error("it did not end within {} s", .0.as_secs_f64())]
    Slow(Duration),
    #[error("it wrote more than {OUTPUT} bytes")]
    TooMuch,
    #[error("it ended with {0}")]
    Failed(std::process::ExitStatus),
    #[error("its output could not be read: {0}")]
    Output(std::io::Error),
}

/// Kills what is left of the program, those included that it started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs it in `folder` with `input` on its standard input; what it writes is the reply, `None` when that is
/// nothing. Our secrets are not in its environment; what it writes to standard error is thrown away, since it may
/// hold the message.
pub async fn run(
    command: &[String],
    folder: &Path,
    timeout: Duration,
    input: &[u8],
) -> Result<Option<String>, NoReply> {
    let (program, args) = command.split_first().ok_or(NoReply::Empty)?;
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(environment::without_ours(inherited()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(NoReply::Start)?;
    let _group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let writing = async move {
        if let Some(mut stdin) = stdin {
            // One that does not read is none the worse for it.
            let _ = stdin.write_all(input).await;
        }
    };
    let reading = async move {
        let mut written = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(OUTPUT + 1).read_to_end(&mut written).await.map_err(NoReply::Output)?;
        }
        if written.len() as u64 > OUTPUT { Err(NoReply::TooMuch) } else { Ok(written) }
    };
    let work = async {
        let reading = async {
            let written = reading.await?;
            Ok::<_, NoReply>((written, child.wait().await.map_err(NoReply::Output)?))
        };
        let ((), ended) = tokio::join!(writing, reading);
        ended
    };
    let (written, status) =
        tokio::time::timeout(timeout, work).await.map_err(|_| NoReply::Slow(timeout))??;
    if !status.success() {
        return Err(NoReply::Failed(status));
    }
    let text = String::from_utf8_lossy(&written);
    let text = text.trim();
    Ok(match text.char_indices().nth(SHOWN) {
        _ if text.is_empty() => None,
        None => Some(text.to_owned()),
        Some((end, _)) => Some(format!("{}…", &text[..end])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, timeout: Duration, input: &str) -> Result<Option<String>, NoReply> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, Path::new("."), timeout, input.as_bytes()).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_it_writes_is_the_reply() {
        assert_eq!(shell("cat", LONG, "hello\n").await.expect("runs").as_deref(), Some("hello"));
        assert_eq!(shell("true", LONG, "hello\n").await.expect("runs"), None);
        // More than a pipe holds, unread.
        assert_eq!(shell("echo x", LONG, &"x".repeat(1 << 20)).await.expect("runs").as_deref(), Some("x"));
        let long =
            shell("yes | head -c 60000 | tr -d '\\n'", LONG, "").await.expect("runs").expect("a reply");
        assert_eq!(long.chars().count(), SHOWN + 1);
    }

    #[tokio::test]
    async fn one_that_fails_or_floods_or_hangs_gives_none() {
        assert!(matches!(shell("echo no; exit 3", LONG, "").await, Err(NoReply::Failed(_))));
        assert!(matches!(shell("yes", LONG, "").await, Err(NoReply::TooMuch)));
        let short = Duration::from_millis(200);
        assert!(matches!(shell("sleep 100 & sleep 100", short, "").await, Err(NoReply::Slow(_))));
        let missing = run(&["no-such-program-of-anybody".to_owned()], Path::new("."), LONG, b"").await;
        assert!(matches!(missing, Err(NoReply::Start(_))));
    }
}
