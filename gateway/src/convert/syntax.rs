//! The syntax of SRS's files, which is that of nginx: `name value …;` and `name value … { … }`, comments from `#` to the end of
//! the line, quotes around values with blanks.

use std::fmt;

/// `name arguments;` or `name arguments { children }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) children: Vec<Self>,
    /// From 1.
    pub(super) line: usize,
}

/// Why a file is no configuration of SRS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Blocks lie in each other three deep in SRS; what is deeper is junk.
const DEPTH_MAX: usize = 16;

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Tokens<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut tokens = Tokens { rest: text.chars().peekable(), line: 1 };
    // The blocks that are open, each with what is in it so far; the file is the first.
    let mut open: Vec<Vec<Directive>> = vec![Vec::new()];
    let mut words: Vec<String> = Vec::new();
    let mut line = 1;
    while let Some(token) = tokens.next()? {
        let wrong = |what| SyntaxError { line: tokens.line, what };
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    line = tokens.line;
                }
                words.push(word);
            }
            Token::End | Token::Open => {
                let is_open = matches!(token, Token::Open);
                let mut taken = std::mem::take(&mut words).into_iter();
                let name = taken.next().ok_or_else(|| wrong("a directive has a name"))?;
                let directive =
                    Directive { name, arguments: taken.collect(), children: Vec::new(), line };
                let inside = open.last_mut().expect("the file itself is never closed");
                inside.push(directive);
                if is_open {
                    if open.len() > DEPTH_MAX {
                        return Err(wrong("blocks lie too deep in each other"));
                    }
                    open.push(Vec::new());
                }
            }
            Token::Close => {
                if !words.is_empty() {
                    return Err(wrong("a directive ends with `;`"));
                }
                let children = open.pop().expect("the file itself is never closed");
                let block = open.last_mut().and_then(|outer| outer.last_mut());
                block.ok_or_else(|| wrong("nothing is open that `}` could close"))?.children =
                    children;
            }
        }
    }
    let wrong = |what| SyntaxError { line: tokens.line, what };
    if !words.is_empty() {
        return Err(wrong("a directive ends with `;`"));
    }
    if open.len() > 1 {
        return Err(wrong("a block is not closed"));
    }
    Ok(open.pop().unwrap_or_default())
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        loop {
            let Some(c) = self.take() else { return Ok(None) };
            match c {
                '#' => while self.take().is_some_and(|c| c != '\n') {},
                ';' => return Ok(Some(Token::End)),
                '{' => return Ok(Some(Token::Open)),
                '}' => return Ok(Some(Token::Close)),
                '"' | '\'' => return self.quoted(c).map(Some),
                c if c.is_whitespace() || c == '\u{feff}' => {}
                c => return Ok(Some(self.word(c))),
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn quoted(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let mut word = String::new();
        let line = self.line;
        loop {
            match self.take() {
                Some(c) if c == quote => return Ok(Token::Word(word)),
                Some('\n') | None => {
                    return Err(SyntaxError { line, what: "a quoted value ends on its line" });
                }
                Some(c) => word.push(c),
            }
        }
    }

    fn word(&mut self, first: char) -> Token {
        let mut word = String::from(first);
        let is_part = |c: &char| !c.is_whitespace() && !";{}".contains(*c);
        while let Some(c) = self.rest.next_if(is_part) {
            word.push(c);
        }
        Token::Word(word)
    }
}

impl Directive {
    /// The first value, or nothing.
    pub(super) fn value(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    pub(super) fn is_on(&self) -> bool {
        self.value() == "on"
    }

    /// The last of the children with that name, which is what SRS takes.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().rev().find(|child| child.name == name)
    }

    /// Whether the block is in force; what SRS takes where nothing is said is `by_default`.
    pub(super) fn is_enabled(&self, by_default: bool) -> bool {
        self.child("enabled").map_or(by_default, Self::is_on)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

impl std::error::Error for SyntaxError {}
