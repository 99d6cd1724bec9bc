//! A command line as a shell would split it, as far as it needs no shell.

/// A part of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// `&&` or `;`: what follows runs after what stands before.
    Then,
}

/// Splits a line. `None` when only a shell could run it: variables, globs, pipes, redirections, `||`, `&`.
pub fn split(line: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        '$' | '`' => return None,
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '$' | '`' | '*' | '?' | '|' | '<' | '>' | '(' | ')' | '\n' => return None,
            '#' if word.is_none() => break,
            '&' if chars.peek() == Some(&'&') => {
                chars.next();
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Then);
            }
            '&' => return None,
            ';' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Then);
            }
            c if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    Some(tokens)
}

/// The commands of a line, one after the other.
pub fn commands(line: &str) -> Option<Vec<Vec<String>>> {
    let mut all = vec![Vec::new()];
    for token in split(line)? {
        match (token, all.last_mut()) {
            (Token::Word(word), Some(last)) => last.push(word),
            _ => all.push(Vec::new()),
        }
    }
    all.retain(|words| !words.is_empty());
    Some(all)
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command as a person reads it.
pub fn line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        let split = |line: &str| {
            commands(line).map(|all| all.iter().map(|words| words.join("|")).collect::<Vec<_>>())
        };
        assert_eq!(
            split("A='x y' node --flag=\"a b\" index.js # note").unwrap(),
            ["A=x y|node|--flag=a b|index.js"]
        );
        assert_eq!(split("npm run build&&node . ;").unwrap(), ["npm|run|build", "node|."]);
        for shell in [
            "node $FILE",
            "node \"$FILE\"",
            "node a.js | tee log",
            "node a & node b",
            "node `x`",
            "echo 'open",
        ] {
            assert_eq!(split(shell), None, "{shell}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_the_word(word in "\\PC{0,20}") {
            prop_assert_eq!(commands(&quoted(&word)), Some(vec![vec![word]]));
        }

        #[test]
        fn anything_is_answered(line in "\\PC{0,40}") {
            let _ = commands(&line);
        }
    }
}
