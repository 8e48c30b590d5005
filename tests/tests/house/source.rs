//! A Rust file as its rules see it: the code alone, without comments and literals, which may say what they like.

/// The code of a file, line for line; comments and the insides of literals are blank.
pub(crate) struct Source {
    code: String,
}

impl Source {
    pub(crate) fn new(text: &str) -> Source {
        Source { code: blank(text) }
    }

    /// The numbers (from 1) of the lines that contain `word`, as often as they do. A word is not part of a longer one.
    pub(crate) fn lines_with(&self, word: &str) -> Vec<usize> {
        let of_word = |c: char| c.is_alphanumeric() || c == '_';
        let hits = self.code.match_indices(word).filter(|(at, _)| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !before.is_some_and(of_word) && !after.is_some_and(of_word)
        });
        hits.map(|(at, _)| self.code[..at].matches('\n').count() + 1)
            .collect()
    }
}

/// Replaces each character of a comment or of a literal by a space; keeps the ends of lines.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = comment(rest).or_else(|| literal(rest, code.chars().next_back()));
        let taken = hidden.unwrap_or(first.len_utf8());
        let (piece, after) = rest.split_at(taken);
        if hidden.is_some() {
            code.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' }));
        } else {
            code.push_str(piece);
        }
        rest = after;
    }
    code
}

/// The length of the comment that `text` starts with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    Some(at.min(text.len()))
}

/// The length of the string or character literal that `text` starts with; `before` tells a raw string from a name.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    if text.starts_with('\'') {
        // A lifetime has no second quote right behind its first character.
        let mut chars = text.chars().skip(1);
        let first = chars.next()?;
        return (first == '\\' || chars.next() == Some('\'')).then(|| quoted(text, '\''));
    }
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_') && before != Some('b');
    let hashes = text
        .strip_prefix('r')?
        .bytes()
        .take_while(|byte| *byte == b'#')
        .count();
    if in_name || text.as_bytes().get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let open = 2 + hashes;
    Some(
        text[open..]
            .find(&end)
            .map_or(text.len(), |at| open + at + end.len()),
    )
}

/// The length of a literal with escapes, both quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

#[test]
fn comments_and_literals_are_not_code() {
    let check = |text: &str, expected: &[usize]| {
        assert_eq!(Source::new(text).lines_with("w"), expected, "{text}")
    };
    check("w", &[1]);
    check("a\n w; w::b(w)", &[2, 2, 2]);
    check("ww w_ _w aw", &[]);
    check("// w\nw", &[2]);
    check("/* w /* w */ w */ w\n/// w\n", &[1]);
    check("\"w\" w \"\\\" w\"", &[1]);
    check("r\"w\\\" w r#\"w \" w\"# w br#\"w\"#", &[1, 1]);
    check("'w' w '\\'' w 'w: &'w w", &[1, 1, 1, 1, 1]);
    check("\"\n\n\" w", &[3]);
    check("\"open w", &[]);
    check("'ä' w", &[1]);
}
