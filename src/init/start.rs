//! How a bot is started: what stands behind `npm start`, nodemon, pm2 and the like.
//!
//! Such wrappers swallow signals and restart by themselves, which blacksky does; and `npm start` is going to start
//! blacksky. So the program itself is looked for.

use std::collections::{BTreeMap, BTreeSet};

use super::words;
use crate::r#gen::package_json;

/// Scripts that run scripts.
const DEEPEST: usize = 8;

/// What is known of the project.
#[derive(Debug, Default)]
pub struct Project {
    /// The scripts of package.json.
    pub scripts: BTreeMap<String, String>,
    /// Its `main`.
    pub main: Option<String>,
    /// Programs that its packages bring.
    pub programs: BTreeSet<String>,
    /// Files, relative to the folder.
    pub files: BTreeSet<String>,
    /// Texts of pm2's ecosystem files, by name.
    pub ecosystems: BTreeMap<String, String>,
}

/// A start command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub command: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Wrappers that only start a file of Node.
const RUNNERS: [&str; 6] = ["nodemon", "pm2", "pm2-runtime", "forever", "node-dev", "supervisor"];
/// Options of these wrappers that take a value.
const WITH_VALUE: [&str; 30] = [
    "-w",
    "--watch",
    "-e",
    "--ext",
    "-i",
    "--ignore",
    "-d",
    "--delay",
    "--config",
    "-s",
    "--signal",
    "-C",
    "--cwd",
    "-n",
    "--name",
    "--instances",
    "--max-memory-restart",
    "-l",
    "--log",
    "-o",
    "--output",
    "--error",
    "--max-restarts",
    "--restart-delay",
    "--exp-backoff-restart-delay",
    "--env",
    "--namespace",
    "-p",
    "--pid",
    "--uid",
];

impl Project {
    /// The program behind a command line; an error says in words why there is none.
    pub fn behind(&self, line: &str) -> Result<Start, String> {
        self.resolve(line, 0)
    }

    fn resolve(&self, line: &str, depth: usize) -> Result<Start, String> {
        if depth > DEEPEST {
            return Err("its scripts start each other in a circle".to_owned());
        }
        let Some(mut commands) = words::commands(line) else {
            let scripts = ["npm ", "yarn ", "pnpm ", "bun "];
            if scripts.iter().any(|program| line.contains(program)) {
                return Err(format!("`{line}` needs a shell and a package manager"));
            }
            let command = ["sh", "-c", line].map(str::to_owned).to_vec();
            let note = format!("`{line}` needs a shell, so it is run by sh -c");
            return Ok(Start { command, notes: vec![note] });
        };
        // `pm2 start bot.js && pm2 logs`
        let looks_on = |words: &Vec<String>| {
            words.len() > 1
                && program(&words[0]) == "pm2"
                && ["logs", "log", "monit", "save", "list"].contains(&words[1].as_str())
        };
        while commands.len() > 1 && commands.last().is_some_and(looks_on) {
            commands.pop();
        }
        let Some(last) = commands.pop() else { return Err("it is empty".to_owned()) };
        let mut start = self.command(last, depth)?;
        for left_out in commands {
            if left_out.first().is_some_and(|program| program == "cd") {
                return Err(format!("`{line}` changes the folder first"));
            }
            let line = words::line(&left_out);
            start.notes.insert(0, format!("`{line}` ran before it and is left out: run it when you build"));
        }
        Ok(start)
    }

    fn command(&self, mut rest: Vec<String>, depth: usize) -> Result<Start, String> {
        let mut environment: Vec<(String, String)> = Vec::new();
        let mut notes = Vec::new();
        loop {
            let Some(first) = rest.first() else { return Err("it starts no program".to_owned()) };
            match first.split_once('=') {
                Some((name, value)) if is_variable(name) => {
                    environment.push((name.to_owned(), value.to_owned()));
                    rest.remove(0);
                    continue;
                }
                _ => {}
            }
            match program(first) {
                "env" | "cross-env" | "cross-env-shell" | "exec" | "nohup" | "dotenv" => {
                    rest.remove(0);
                    while rest.first().is_some_and(|word| word == "--") {
                        rest.remove(0);
                    }
                }
                "npx" | "bunx" if rest.get(1).is_some_and(|tool| self.knows(tool)) => {
                    rest.remove(0);
                }
                _ => break,
            }
        }
        if let Some(line) = self.script(&rest)? {
            let mut start = self.resolve(&line, depth + 1)?;
            start.notes.splice(0..0, notes);
            return Ok(with(environment, start));
        }
        let tool = program(&rest[0]).to_owned();
        if tool == "blacksky" {
            return Err("it starts blacksky".to_owned());
        }
        let command = if RUNNERS.contains(&tool.as_str()) {
            let start = self.wrapped(&tool, &rest[1..], depth)?;
            notes.push(format!("{tool} is left out: blacksky restarts the bot by itself"));
            notes.extend(start.notes);
            start.command
        } else if !rest[0].contains('/') && self.programs.contains(&tool) && tool != "node" {
            // npm finds it by itself; a Procfile does not.
            rest[0] = format!("node_modules/.bin/{tool}");
            rest
        } else {
            rest
        };
        Ok(with(environment, Start { command, notes }))
    }

    fn knows(&self, tool: &str) -> bool {
        RUNNERS.contains(&tool) || self.programs.contains(tool) || tool == "cross-env"
    }

    /// The line of the script that a package manager would run.
    fn script(&self, command: &[String]) -> Result<Option<String>, String> {
        if !["npm", "yarn", "pnpm", "bun"].contains(&program(&command[0])) {
            return Ok(None);
        }
        let manager = program(&command[0]);
        let mut words = command.iter().enumerate().skip(1).filter(|(_, word)| !word.starts_with('-'));
        let mut next = || words.next().map_or((command.len(), ""), |(at, word)| (at, word.as_str()));
        let (mut at, mut name) = next();
        if name == "run" || name == "run-script" {
            (at, name) = next();
        }
        let rest = command.get(at + 1..).unwrap_or_default();
        // npm keeps to itself what stands before `--`.
        let arguments = match rest.iter().position(|word| word == "--") {
            Some(dashes) => rest[dashes + 1..].to_vec(),
            None if manager == "npm" => Vec::new(),
            None => rest.to_vec(),
        };
        let name = if name == "restart" { "start" } else { name };
        let line = match self.scripts.get(name) {
            Some(line) if line == package_json::START => {
                return Err(format!("{manager} {name} starts blacksky"));
            }
            Some(line) => line.clone(),
            None if name == "start" && self.files.contains("server.js") => "node server.js".to_owned(),
            // Bun runs files too.
            None if manager == "bun" => return Ok(None),
            None => return Err(format!("package.json has no script \"{name}\"")),
        };
        Ok(Some(if arguments.is_empty() { line } else { format!("{line} {}", words::line(&arguments)) }))
    }

    /// What nodemon, pm2 or forever run.
    fn wrapped(&self, tool: &str, words: &[String], depth: usize) -> Result<Start, String> {
        let (mut flags, mut interpreter, mut exec): (Vec<String>, Option<String>, Option<String>) =
            (Vec::new(), None, None);
        let mut file: Option<String> = None;
        let mut arguments = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if file.is_some() && (word == "--" || !tool.starts_with("pm2")) {
                if word != "--" {
                    arguments.push(word.clone());
                }
                arguments.extend(words.by_ref().cloned());
                break;
            }
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            match name {
                "start" | "--" if file.is_none() => {}
                "--node-args" | "--interpreter-args" => {
                    let value = inline.or_else(|| words.next().cloned()).unwrap_or_default();
                    flags.extend(value.split_whitespace().map(str::to_owned));
                }
                "--interpreter" => interpreter = inline.or_else(|| words.next().cloned()),
                "-x" | "--exec" => exec = inline.or_else(|| words.next().cloned()),
                "--watch" if tool.starts_with("pm2") => {}
                option if WITH_VALUE.contains(&option) => {
                    if inline.is_none() {
                        words.next();
                    }
                }
                // Node's own flags pass through nodemon.
                option
                    if option.starts_with("--inspect")
                        || option.starts_with("--expose")
                        || option.starts_with("--max-old") =>
                {
                    flags.push(word.clone());
                }
                option if option.starts_with('-') => {}
                _ if file.is_none() => file = Some(word.clone()),
                _ => arguments.push(word.clone()),
            }
        }
        if let Some(file) = &file
            && (file.ends_with(".config.js") || file.ends_with(".config.cjs") || file.ends_with(".json"))
        {
            return self.ecosystem(file, depth);
        }
        // `pm2 start npm -- start`
        if let Some(manager) = &file
            && ["npm", "yarn", "pnpm"].contains(&manager.as_str())
        {
            let line = format!("{manager} {}", words::line(&arguments));
            return self.resolve(&line, depth + 1);
        }
        if let Some(exec) = exec {
            let line =
                format!("{exec} {}", words::line(&file.into_iter().chain(arguments).collect::<Vec<_>>()));
            return self.resolve(&line, depth + 1);
        }
        let file = file.or_else(|| self.main.clone()).unwrap_or_else(|| "index.js".to_owned());
        // pm2 and nodemon take a whole command as one word.
        if file.contains(' ') {
            return self.resolve(&file, depth + 1);
        }
        let interpreter = match interpreter {
            Some(interpreter) if interpreter == "none" => Vec::new(),
            Some(interpreter) => vec![interpreter],
            None if file.ends_with(".py") => vec!["python3".to_owned()],
            None if file.ends_with(".sh") => vec!["sh".to_owned()],
            None => vec!["node".to_owned()],
        };
        let command = interpreter.into_iter().chain(flags).chain([file]).chain(arguments).collect();
        Ok(Start { command, notes: Vec::new() })
    }

    /// The first app of an ecosystem file of pm2.
    fn ecosystem(&self, file: &str, depth: usize) -> Result<Start, String> {
        let name = file.trim_start_matches("./");
        let Some(text) = self.ecosystems.get(name) else { return Err(format!("{name} is not there")) };
        let value = |key: &str| {
            let found =
                regex::Regex::new(&format!(r#"["']?\b{key}["']?\s*:\s*["'`]([^"'`\n]+)["'`]"#)).ok()?;
            Some(found.captures(text)?.get(1)?.as_str().to_owned())
        };
        let Some(script) = value("script") else { return Err(format!("{name} names no script")) };
        let mut line = match value("interpreter") {
            Some(interpreter) if interpreter != "none" => format!("{interpreter} "),
            _ if script.ends_with(".js") || script.ends_with(".cjs") || script.ends_with(".mjs") => {
                "node ".to_owned()
            }
            _ => String::new(),
        };
        if let Some(flags) = value("node_args") {
            line.push_str(&flags);
            line.push(' ');
        }
        line.push_str(&script);
        if let Some(arguments) = value("args") {
            line.push(' ');
            line.push_str(&arguments);
        }
        self.resolve(&line, depth + 1)
    }
}

/// The name of a program without its folder.
fn program(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    if name == "nodejs" { "node" } else { name }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The command with variables that were set in front of it.
fn with(environment: Vec<(String, String)>, mut start: Start) -> Start {
    let mut kept = Vec::new();
    for (name, value) in environment {
        match name.as_str() {
            "NODE_ENV" if value == "production" => {
                start.notes.push("NODE_ENV=production is left out: Heroku sets it".to_owned());
            }
            "PORT" => {
                start.notes.push("PORT is left out: blacksky gives the bot a port of its own".to_owned())
            }
            // blacksky adds to NODE_OPTIONS, so the command must not replace it.
            "NODE_OPTIONS" => {
                if start.command.first().is_some_and(|word| program(word) == "node") {
                    let flags = value.split_whitespace().map(str::to_owned);
                    start.command.splice(1..1, flags);
                } else {
                    start.notes.push(format!("set it as a Config Var instead: NODE_OPTIONS=\"{value}\""));
                }
            }
            _ => kept.push(format!("{name}={value}")),
        }
    }
    if !kept.is_empty() {
        let more = usize::from(start.command.first().is_some_and(|word| word == "env"));
        start.command.splice(0..more, std::iter::once("env".to_owned()).chain(kept));
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        let scripts = [
            ("start", "cross-env A=b npm run bot"),
            ("bot", "node --max-old-space-size=384 main.js --autoread"),
            ("dev", "nodemon -e js,mjs --watch src src/index.js"),
            ("pm2", "pm2 start ecosystem.config.js && pm2 logs"),
            ("ring", "npm run ring"),
            ("tsx", "tsx src/bot.ts"),
            ("built", "npm run build && node dist/index.js"),
            ("ours", "blacksky run"),
        ];
        Project {
            scripts: scripts.map(|(name, line)| (name.to_owned(), line.to_owned())).into(),
            main: Some("main.js".to_owned()),
            programs: ["tsx", "nodemon"].map(str::to_owned).into(),
            files: ["index.js"].map(str::to_owned).into(),
            ecosystems: [
                (
                    "ecosystem.config.js",
                    "apps: [{ name: 'x', script: './bot.js', args: '--qr', node_args: '--expose-gc' }]",
                ),
                ("npm.config.js", "apps: [{ script: \"npm\", args: \"run dev\" }]"),
                ("ring.config.js", "apps: [{ script: 'pm2', args: 'start ring.config.js' }]"),
            ]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        }
    }

    fn command(line: &str) -> String {
        project().behind(line).map_or_else(|why| format!("none: {why}"), |start| words::line(&start.command))
    }

    #[test]
    fn the_program_behind_each_wrapper_is_found() {
        for (line, wanted) in [
            ("node index.js", "node index.js"),
            ("node .", "node ."),
            ("npm start", "env A=b node --max-old-space-size=384 main.js --autoread"),
            ("npm run start", "env A=b node --max-old-space-size=384 main.js --autoread"),
            ("yarn start", "env A=b node --max-old-space-size=384 main.js --autoread"),
            ("yarn bot --code", "node --max-old-space-size=384 main.js --autoread --code"),
            ("npm run bot -- --code", "node --max-old-space-size=384 main.js --autoread --code"),
            ("npm --silent run dev", "node src/index.js"),
            ("nodemon", "node main.js"),
            ("nodemon --exec 'npm run tsx'", "node_modules/.bin/tsx src/bot.ts"),
            ("npx nodemon index.js --port 1", "node index.js --port 1"),
            (
                "pm2 start index.js --name bot -i 1 --node-args=\"--expose-gc\" -- --qr",
                "node --expose-gc index.js --qr",
            ),
            ("pm2 start npm --name bot -- start", "env A=b node --max-old-space-size=384 main.js --autoread"),
            ("pm2-runtime start ecosystem.config.js", "node --expose-gc ./bot.js --qr"),
            ("pm2 start npm.config.js", "node src/index.js"),
            ("pm2 start ring.config.js", "none: its scripts start each other in a circle"),
            ("pm2-runtime bot.py", "python3 bot.py"),
            ("forever start index.js", "node index.js"),
            ("npm run pm2", "node --expose-gc ./bot.js --qr"),
            ("npx tsx src/bot.ts", "node_modules/.bin/tsx src/bot.ts"),
            ("npm run built", "node dist/index.js"),
            (
                "NODE_ENV=production NODE_OPTIONS=\"--expose-gc --max-old-space-size=384\" node heroku-combined-runner.js --optimize-memory",
                "node --expose-gc --max-old-space-size=384 heroku-combined-runner.js --optimize-memory",
            ),
            ("TZ=UTC PORT=8000 node index.js", "env TZ=UTC node index.js"),
            ("A=1 npm start", "env A=1 A=b node --max-old-space-size=384 main.js --autoread"),
            ("node index.js | tee log", "sh -c 'node index.js | tee log'"),
            ("./bot -db wa.db", "./bot -db wa.db"),
            ("npm run ours", "none: npm ours starts blacksky"),
            ("blacksky run", "none: it starts blacksky"),
            ("npm run ring", "none: its scripts start each other in a circle"),
            ("npm run nothing", "none: package.json has no script \"nothing\""),
            ("npm start | tee log", "none: `npm start | tee log` needs a shell and a package manager"),
        ] {
            assert_eq!(command(line), wanted, "{line}");
        }
    }

    #[test]
    fn npm_start_never_remains() {
        let project = project();
        for line in project.scripts.values() {
            if let Ok(start) = project.behind(line) {
                let line = words::line(&start.command);
                assert!(!line.contains("npm") && !line.contains("pm2"), "{line}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_answered(line in "(npm|yarn|pm2|nodemon|node|env|start|run|dev|ring|--|-x|A=b|&&| |\"|'|\\PC){0,12}") {
            if let Ok(start) = project().behind(&line) {
                proptest::prop_assert!(!start.command.is_empty());
            }
        }
    }
}
