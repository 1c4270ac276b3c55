//! Rust source as the rules look at it: code apart from comments and literals.
//!
//! A scanner, not a parser: it knows where comments, strings and characters begin and end and nothing
//! else. Lines keep their numbers.

/// The comments and inner attributes before a file's first item.
pub fn header(text: &str) -> &str {
    let mut end = 0;
    let mut in_attribute = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        in_attribute |= trimmed.starts_with("#![");
        if !in_attribute && !trimmed.is_empty() && !trimmed.starts_with("//") {
            break;
        }
        in_attribute &= !trimmed.ends_with(")]");
        end += line.len();
    }
    &text[..end]
}

/// The identifiers, keywords and numbers of a line.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The source with comments, strings and character literals blanked out, line for line.
pub fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = opaque_length(rest, after_word);
        let (opaque, tail) = rest.split_at(length);
        code.extend(opaque.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = tail;
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with; 0 when it begins with code.
fn opaque_length(rest: &str, after_word: bool) -> usize {
    let through = |end: &str, from: usize| {
        rest.get(from..)
            .and_then(|tail| tail.find(end))
            .map_or(rest.len(), |at| from + at + end.len())
    };
    let raw = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r');
    let hashes = raw.map_or(0, |tail| tail.len() - tail.trim_start_matches('#').len());
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_length(rest)
    } else if !after_word && raw.is_some_and(|tail| tail[hashes..].starts_with('"')) {
        let open = rest.find('"').unwrap_or_default();
        through(&format!("\"{}", "#".repeat(hashes)), open + 1)
    } else if let Some(string) = rest.strip_prefix('"') {
        let mut escaped = false;
        let is_end = |c: char| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        };
        string.find(is_end).map_or(rest.len(), |at| at + 2)
    } else if rest.starts_with("'\\") {
        through("'", 3)
    } else {
        // A quote that closes one character later is a literal; any other is a lifetime.
        let mut chars = rest.char_indices();
        let is_literal = rest.starts_with('\'') && chars.nth(2).is_some_and(|(_, c)| c == '\'');
        if is_literal { through("'", 1) } else { 0 }
    }
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // unsafe", "a"),
            ("/* x /* y */ unsafe */ b", "b"),
            (r#"f("unsafe \" ", "\" unsafe")"#, "f(,)"),
            (r##"r#"unsafe " unsafe"# c"##, "c"),
            (r#"br"\" d"#, "d"),
            (r"'\'' '\\' e", "e"),
            ("'\"' unsafe '\"'", "unsafe"),
            ("&'a str", "&'astr"),
        ];
        for (source, expected) in cases {
            let code = code_only(source).replace(char::is_whitespace, "");
            assert_eq!(code, expected, "{source}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let source = "/*\n*/ a \"\n\n\" b";
        assert_eq!(code_only(source).lines().count(), source.lines().count());
    }

    #[test]
    fn an_unclosed_literal_ends_with_the_file() {
        for source in ["\"a", "/* a", "r#\"a\"", "'\\", "'"] {
            assert_eq!(code_only(source).chars().count(), source.chars().count(), "{source}");
        }
    }

    #[test]
    fn the_header_ends_at_the_first_item() {
        let text = "//! A.\n\n#![expect(\n    b,\n    reason = \"c\"\n)]\n// d\nuse e;\n//! f\n";
        assert!(header(text).ends_with("// d\n"));
    }
}
