//! JAAS login configurations: where Apache ZooKeeper keeps the users of SASL DIGEST-MD5.
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_alice="secret";
//! };
//! ```

use std::collections::BTreeMap;

use super::Secret;

/// One login module of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// The class.
    pub class: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// What could not be understood, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub text: String,
}

/// The sections of a login configuration, each with its modules.
pub fn parse(text: &str) -> Result<BTreeMap<String, Vec<Module>>, Problem> {
    let tokens = tokens(text)?;
    let mut reader = Tokens { tokens: &tokens, last_line: text.lines().count().max(1) };
    let mut sections = BTreeMap::new();
    while let Some(name) = reader.next() {
        let name = name.word("the name of a section")?;
        reader.expect('{')?;
        let mut modules = Vec::new();
        while !reader.take('}') {
            modules.push(reader.module()?);
        }
        reader.expect(';')?;
        sections.insert(name, modules);
    }
    Ok(sections)
}

/// A single module without its section, as the value of `sasl.jaas.config` may be.
pub fn parse_module(text: &str) -> Result<Module, Problem> {
    let tokens = tokens(text)?;
    Tokens { tokens: &tokens, last_line: text.lines().count().max(1) }.module()
}

/// The users of a section's modules: the options `user_<name>`.
pub fn users(modules: &[Module]) -> BTreeMap<String, Secret> {
    let options = modules.iter().flat_map(|module| &module.options);
    options
        .filter_map(|(key, value)| Some((key.strip_prefix("user_")?.to_owned(), Secret(value.clone()))))
        .collect()
}

#[derive(Debug, Clone)]
struct Token {
    line: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Word(String),
    Mark(char),
}

impl Token {
    fn word(self, wanted: &str) -> Result<String, Problem> {
        match self.kind {
            Kind::Word(word) => Ok(word),
            Kind::Mark(mark) => {
                Err(Problem { line: self.line, text: format!("`{mark}` instead of {wanted}") })
            }
        }
    }
}

struct Tokens<'a> {
    tokens: &'a [Token],
    last_line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn word(&mut self, wanted: &str) -> Result<String, Problem> {
        let end = || Problem { line: self.last_line, text: format!("it ends where {wanted} should come") };
        let end = end();
        self.next().ok_or(end)?.word(wanted)
    }

    fn take(&mut self, mark: char) -> bool {
        let there = self.tokens.first().is_some_and(|token| token.kind == Kind::Mark(mark));
        if there {
            self.tokens = &self.tokens[1..];
        }
        there
    }

    fn expect(&mut self, mark: char) -> Result<(), Problem> {
        if self.take(mark) {
            return Ok(());
        }
        let line = self.tokens.first().map_or(self.last_line, |token| token.line);
        Err(Problem { line, text: format!("`{mark}` is missing") })
    }

    fn module(&mut self) -> Result<Module, Problem> {
        let class = self.word("the class of a login module")?;
        self.word("`required`, `requisite`, `sufficient` or `optional`")?;
        let mut options = BTreeMap::new();
        while !self.take(';') {
            let key = self.word("an option or `;`")?;
            self.expect('=')?;
            options.insert(key, self.word("an option's value")?);
        }
        Ok(Module { class, options })
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while let Some(char) = chars.next() {
        match char {
            '\n' => line += 1,
            char if char.is_whitespace() => {}
            '#' => while chars.next_if(|char| *char != '\n').is_some() {},
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|char| *char != '\n').is_some() {},
            '/' if chars.peek() == Some(&'*') => {
                let start = line;
                chars.next();
                loop {
                    match chars.next() {
                        Some('*') if chars.next_if_eq(&'/').is_some() => break,
                        Some('\n') => line += 1,
                        Some(_) => {}
                        None => {
                            return Err(Problem { line: start, text: "a comment does not end".to_owned() });
                        }
                    }
                }
            }
            '{' | '}' | ';' | '=' => tokens.push(Token { line, kind: Kind::Mark(char) }),
            quote @ ('"' | '\'') => {
                let start = line;
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some(end) if end == quote => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(char) if char != '\n' => word.push(char),
                        _ => {
                            return Err(Problem { line: start, text: "a quotation does not end".to_owned() });
                        }
                    }
                }
                tokens.push(Token { line: start, kind: Kind::Word(word) });
            }
            char => {
                let mut word = String::from(char);
                while let Some(char) =
                    chars.next_if(|char| !char.is_whitespace() && !"{};=\"'".contains(*char))
                {
                    word.push(char);
                }
                tokens.push(Token { line, kind: Kind::Word(word) });
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_the_options_of_the_digest_module() {
        let sections = parse(
            "// a comment\nServer {\n  org.apache.zookeeper.server.auth.DigestLoginModule required /* a\nb */\n  \
             user_super=\"adminsecret\"\n  user_bob='b\\'ob';\n};\nClient { x.Y required username=\"bob\" password=p; };\n",
        )
        .unwrap();
        assert_eq!(sections.keys().collect::<Vec<_>>(), ["Client", "Server"]);
        let users = users(&sections["Server"]);
        assert_eq!(users["super"].0, "adminsecret");
        assert_eq!(users["bob"].0, "b'ob");
        assert_eq!(sections["Client"][0].options["password"], "p");
        let module = parse_module("a.DigestLoginModule required user_x=\"pw\";").unwrap();
        assert_eq!(super::users(&[module])["x"].0, "pw");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            ("Server {\n a required", 2, "it ends where an option or `;` should come"),
            ("Server {\n a required x;\n}", 2, "`=` is missing"),
            ("Server {\n a required;\n}\n", 3, "`;` is missing"),
            ("\n/* x", 2, "a comment does not end"),
            ("Server { a required x=\"y\n", 1, "a quotation does not end"),
            ("{", 1, "`{` instead of the name of a section"),
        ] {
            assert_eq!(parse(text), Err(Problem { line, text: problem.to_owned() }), "{text:?}");
        }
    }
}
