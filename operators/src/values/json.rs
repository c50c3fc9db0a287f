//! JSON text: RFC 8259, strictly, in one pass, without a tree.

use super::path::Segment;

/// How deep objects and arrays may be nested.
const DEPTH_MAX: usize = 128;

/// Whether a text is one JSON value and nothing else, by the same rules as a record.
pub fn is_json(text: &str) -> bool {
    let mut text = Text::new(text);
    text.blanks();
    text.skip().and_then(|()| text.end()).is_ok()
}

/// Whether a text is one JSON number and nothing else.
pub fn is_number(text: &str) -> bool {
    let mut text = Text::new(text);
    text.number().is_ok() && text.end().is_ok()
}

/// The value at a path as it is written, where it is there; `None` where it is not; an error where the text is not JSON.
pub fn find<'a>(text: &'a str, path: &[Segment]) -> Result<Option<&'a str>, String> {
    let mut text = Text::new(text);
    text.blanks();
    let found = text.find(path)?;
    text.end()?;
    Ok(found)
}

/// Gives every value of a text as it is written, with the way that leads to it: first what is inside a value, then that value. Of a key
/// that stands twice both are given, in their order.
///
/// # Errors
/// The text is not JSON.
pub fn walk(text: &str, visit: &mut dyn FnMut(&[Segment], &str)) -> Result<(), String> {
    let mut text = Text::new(text);
    text.blanks();
    text.walk(&mut Vec::new(), visit)?;
    text.end()
}

/// What a JSON string says, without quotes and escapes.
pub fn unquote(json: &str) -> Result<String, String> {
    let mut text = Text::new(json);
    text.expect(b'"')?;
    let mut unescaped = String::new();
    text.string(&mut unescaped).map(str::to_string)
}

/// A text and how far it is read.
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// The objects and arrays around it.
    depth: usize,
    /// Whether nobody asked for what it reads over.
    is_unread: bool,
}

impl<'a> Text<'a> {
    /// The text from the beginning.
    pub(crate) fn new(text: &'a str) -> Text<'a> {
        Text { text, at: 0, depth: 0, is_unread: false }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.unexpected(&format!("where {:?} should be", byte as char)))
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.blanks();
        match self.rest() {
            [] => Ok(()),
            _ => Err(self.unexpected("after the end of the value")),
        }
    }

    /// Reads over a value and gives what stands at the path below it.
    fn find(&mut self, path: &[Segment]) -> Result<Option<&'a str>, String> {
        let mut found = None;
        let start = self.at;
        match (path.split_first(), self.peek()) {
            (None, _) => {
                self.skip_unread()?;
                found = Some(&self.text[start..self.at]);
            }
            (Some((Segment::Key(key), rest)), Some(b'{')) => self.skip_all::<String>(b'}', |text| {
                text.expect(b'"')?;
                let (from, mut unescaped) = (text.at, String::new());
                let here = match text.string(&mut unescaped) {
                    Ok(name) => name == key,
                    Err(why) => {
                        // Half a surrogate pair is in no key that somebody asks for.
                        text.at = from;
                        text.skip_unread_key().map_err(|_| why)?;
                        false
                    }
                };
                text.blanks();
                text.expect(b':')?;
                text.blanks();
                match here {
                    true => found = text.find(rest)?,
                    false => text.skip_unread()?,
                }
                Ok(())
            })?,
            (Some((Segment::Item(item), rest)), Some(b'[')) => {
                let mut place = 0;
                self.skip_all::<String>(b']', |text| {
                    match place == *item {
                        true => found = text.find(rest)?,
                        false => text.skip_unread()?,
                    }
                    place += 1;
                    Ok(())
                })?;
            }
            _ => self.skip_unread()?,
        }
        Ok(found)
    }

    fn walk(&mut self, path: &mut Vec<Segment>, visit: &mut dyn FnMut(&[Segment], &str)) -> Result<(), String> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.skip_all::<String>(b'}', |text| {
                text.expect(b'"')?;
                let (from, mut unescaped) = (text.at, String::new());
                let key = text.string(&mut unescaped).map(str::to_string);
                if key.is_err() {
                    text.at = from;
                    text.skip_unread_key()?;
                }
                text.blanks();
                text.expect(b':')?;
                text.blanks();
                // Half a surrogate pair is in no key that is declared.
                let Ok(key) = key else { return text.skip_unread() };
                path.push(Segment::Key(key));
                let walked = text.walk(path, visit);
                path.pop();
                walked
            })?,
            Some(b'[') => {
                let mut place = 0;
                self.skip_all::<String>(b']', |text| {
                    path.push(Segment::Item(place));
                    place += 1;
                    let walked = text.walk(path, visit);
                    path.pop();
                    walked
                })?;
            }
            _ => self.skip_unread()?,
        }
        visit(path, &self.text[start..self.at]);
        Ok(())
    }

    #[inline]
    pub(crate) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[cold]
    pub(crate) fn unexpected(&self, place: &str) -> String {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("'{}'", super::Visible(c.encode_utf8(&mut [0; 4]))),
            None => "the end".into(),
        };
        format!("not JSON: {found} at byte {} {place}", self.at)
    }

    /// Takes `"name"` if it stands here.
    #[inline]
    pub(crate) fn take_key(&mut self, name: &[u8]) -> bool {
        let rest = self.rest();
        let end = name.len() + 1;
        let there = rest.len() > end && rest[0] == b'"' && rest[end] == b'"' && rest[1..end] == *name;
        if there {
            self.at += end + 1;
        }
        there
    }

    /// The string whose opening quote was taken, without escapes. A slice of the text where it has none.
    #[inline]
    pub(crate) fn string<'b>(&mut self, unescaped: &'b mut String) -> Result<&'b str, String>
    where
        'a: 'b,
    {
        let start = self.at;
        let rest = self.rest();
        let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\') || *b < 0x20).unwrap_or(rest.len());
        self.at += plain;
        if self.take(b'"') {
            return Ok(&self.text[start..self.at - 1]);
        }
        self.escaped(start, unescaped)?;
        Ok(unescaped)
    }

    #[cold]
    fn escaped(&mut self, start: usize, out: &mut String) -> Result<(), String> {
        out.clear();
        out.push_str(&self.text[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                Some(b) if b >= 0x20 => {
                    let from = self.at;
                    while matches!(self.peek(), Some(b) if b >= 0x20 && !matches!(b, b'"' | b'\\')) {
                        self.at += 1;
                    }
                    out.push_str(&self.text[from..self.at]);
                }
                _ => return Err(self.unexpected("in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(byte) = self.peek() else { return Err(self.unexpected("in a string")) };
        let c = match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected("after a backslash")),
        };
        self.at += 1;
        Ok(c)
    }

    /// Four hex digits; a surrogate must come with its other half.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(format!("half a surrogate pair: at byte {}", self.at));
                }
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(format!("half a surrogate pair: at byte {}", self.at));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| format!("half a surrogate pair: at byte {}", self.at))
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            let Some(digit) = digit else { return Err(self.unexpected("where a hex digit should be")) };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// A number as it is written.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a str, String> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> Result<(), String> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected("where a digit should be")) } else { Ok(()) }
    }

    pub(crate) fn word(&mut self, word: &str) -> Result<(), String> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected("where a value should be"))
    }

    /// Reads over a value. It must be one.
    pub(crate) fn skip(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.skip_string()
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'{') => self.skip_all::<String>(b'}', |text| {
                text.expect(b'"')?;
                text.skip_string()?;
                text.blanks();
                text.expect(b':')?;
                text.blanks();
                text.skip()
            }),
            Some(b'[') => self.skip_all::<String>(b']', |text| text.skip()),
            _ => Err(self.unexpected("where a value should be")),
        }
    }

    /// Reads over a value that nobody asked for. It must be JSON, by whose grammar half a surrogate pair is a character.
    pub(crate) fn skip_unread(&mut self) -> Result<(), String> {
        self.is_unread = true;
        let skipped = self.skip();
        self.is_unread = false;
        skipped
    }

    /// Reads over a key that nobody asked for, after its first quote.
    pub(crate) fn skip_unread_key(&mut self) -> Result<(), String> {
        self.is_unread = true;
        let skipped = self.skip_string();
        self.is_unread = false;
        skipped
    }

    /// Into an object or array, whose bracket is next.
    pub(crate) fn enter(&mut self) -> Result<(), String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("objects and arrays nested more than {DEPTH_MAX} deep"));
        }
        self.depth += 1;
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// Out of it again, if its closing bracket is next.
    pub(crate) fn leave(&mut self, close: u8) -> bool {
        let closed = self.take(close);
        self.depth -= usize::from(closed);
        closed
    }

    /// What stands between an opening bracket, which is next, and its closing one, with commas between.
    pub(crate) fn skip_all<E: From<String>>(
        &mut self,
        close: u8,
        mut one: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter()?;
        if self.leave(close) {
            return Ok(());
        }
        loop {
            one(self)?;
            self.blanks();
            if self.leave(close) {
                return Ok(());
            }
            self.expect(b',')?;
            self.blanks();
        }
    }

    fn skip_string(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\') || *b < 0x20).unwrap_or(rest.len());
            if self.take(b'"') {
                return Ok(());
            }
            if !self.take(b'\\') {
                return Err(self.unexpected("in a string"));
            }
            match self.is_unread && self.take(b'u') {
                true => drop(self.hex4()?),
                false => drop(self.escape()?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::path::Path;

    #[test]
    fn values_by_path_without_columns() {
        let path = |text: &str| Path::parse(text).unwrap().0;
        let text = r#" {"a":{"b":[10, {"c":"\u00e4"}]},"a":{"b":[11]}} "#;
        assert_eq!(find(text, &path("a.b[0]")), Ok(Some("11")));
        assert_eq!(find(text, &path("a.b[1].c")), Ok(None), "the later a has none");
        assert_eq!(find(r#"{"a":["x"]}"#, &path("a[0]")).unwrap().map(unquote), Some(Ok("x".into())));
        let mut seen = Vec::new();
        let text = r#"{"a":{"b":[10,"\ud800"]},"\ud800":1,"c":null}"#;
        walk(text, &mut |path, value| seen.push((Path(path.to_vec()).to_string(), value.to_string()))).unwrap();
        let seen: Vec<_> = seen.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        let inner = [("a.b[0]", "10"), ("a.b[1]", r#""\ud800""#), ("a.b", r#"[10,"\ud800"]"#)];
        assert_eq!(seen[..3], inner);
        assert_eq!(seen[3..], [("a", r#"{"b":[10,"\ud800"]}"#), ("c", "null"), ("", text)]);
        assert!(walk("{\"a\":}", &mut |_, _| {}).is_err() && walk("{} x", &mut |_, _| {}).is_err());
        assert_eq!(find(r#"{"\ud800":"\ud800","k":"\ud800","w":1}"#, &path("w")), Ok(Some("1")));
        assert_eq!(find(r#"{"w":["\ud800"]}"#, &path("w")), Ok(Some(r#"["\ud800"]"#)));
        assert!(find("{", &path("a")).is_err() && find("{} x", &path("a")).is_err());
        assert!(is_json(" [1] ") && is_json("1") && !is_json("") && !is_json("{]") && !is_json("1 2"));
    }
}
