//! JSON without white space, byte by byte.

/// Brackets inside of brackets in a value that is checked; deeper ones are left to Python.
const DEEPEST: u32 = 32;

/// Goes through the bytes of one line.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Nothing of the present object was read yet: its next member has no comma before it.
    first: bool,
}

impl<'a> Reader<'a> {
    /// Begin behind an opening bracket at `at`.
    pub fn at(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            first: true,
        }
    }

    /// The whole line.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where it stands.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn next(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What wasn't read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Go on by `length`, which is there.
    pub fn go(&mut self, length: usize) {
        self.at += length;
    }

    /// Go over `text`, if it stands here.
    pub fn take(&mut self, text: &[u8]) -> bool {
        let stands = self.rest().starts_with(text);
        self.at += if stands { text.len() } else { 0 };
        stands
    }

    /// The bracket that opens an object.
    pub fn open(&mut self) -> Option<()> {
        self.first = true;
        self.take(b"{").then_some(())
    }

    /// Go over the name `name` of a member and its colon, if that comes next.
    pub fn member(&mut self, name: &[u8]) -> bool {
        let before = self.at;
        let here = (self.first || self.take(b","))
            && self.take(b"\"")
            && self.take(name)
            && self.take(b"\":");
        if here {
            self.first = false;
        } else {
            self.at = before;
        }
        here
    }

    /// The name of the member that comes next, whatever it is, and its colon.
    pub fn name(&mut self) -> Option<&'a [u8]> {
        let name = self.plain_string()?;
        self.take(b":").then_some(name)
    }

    /// Whether a comma comes, before another member, or else the bracket at the object's end.
    pub fn goes_on(&mut self) -> Option<bool> {
        if self.take(b",") {
            return Some(true);
        }
        self.take(b"}").then_some(false)
    }

    /// What a string holds, if it has no escapes.
    pub fn plain_string(&mut self) -> Option<&'a [u8]> {
        if !self.take(b"\"") {
            return None;
        }
        let rest = self.rest();
        let end = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\'))?;
        self.at += end + 1;
        (rest[end] == b'"').then_some(&rest[..end])
    }

    /// A number of 1 to 65535, as a number is written.
    pub fn number(&mut self) -> Option<u16> {
        let mut value = 0_u32;
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.next() {
            value = value * 10 + u32::from(digit - b'0');
            self.at += 1;
            if value > u32::from(u16::MAX) || self.bytes[start] == b'0' {
                return None;
            }
        }
        u16::try_from(value).ok().filter(|&number| number > 0)
    }

    /// Go to the end of any value. It is found where the JSON is sound; nothing is checked.
    pub fn skip(&mut self) -> Option<()> {
        match self.next()? {
            b'"' => {
                self.at += 1;
                self.skip_string()
            }
            b'{' | b'[' => self.skip_brackets(),
            _ => {
                let end = |&byte: &u8| matches!(byte, b',' | b'}' | b']');
                self.at += self.rest().iter().position(end)?;
                Some(())
            }
        }
    }

    /// Any value; as [`Reader::skip`].
    pub fn skipped(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.skip()?;
        Some(&self.bytes[start..self.at])
    }

    /// Go to the end of a string, from behind its opening quote.
    pub fn skip_string(&mut self) -> Option<()> {
        loop {
            let found = memchr::memchr2(b'"', b'\\', self.rest())?;
            let escaped = self.bytes[self.at + found] == b'\\';
            self.at += found + 1 + usize::from(escaped);
            if !escaped {
                return Some(());
            }
        }
    }

    fn skip_brackets(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        while let Some(byte) = self.next() {
            self.at += 1;
            match byte {
                b'"' => self.skip_string()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Any value, which must be sound JSON without white space (but for its UTF-8).
    pub fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.sound(DEEPEST)?;
        Some(&self.bytes[start..self.at])
    }

    fn sound(&mut self, left: u32) -> Option<()> {
        let left = left.checked_sub(1)?;
        match self.next()? {
            b'"' => self.sound_string(),
            b'{' => self.sound_list(b'}', |read| {
                read.sound_string()?;
                read.take(b":").then_some(())?;
                read.sound(left)
            }),
            b'[' => self.sound_list(b']', |read| read.sound(left)),
            b't' => self.take(b"true").then_some(()),
            b'f' => self.take(b"false").then_some(()),
            b'n' => self.take(b"null").then_some(()),
            _ => self.sound_number(),
        }
    }

    fn sound_list(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        if self.next()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            let mark = self.next()?;
            self.at += 1;
            if mark == end {
                return Some(());
            }
            (mark == b',').then_some(())?;
        }
    }

    fn sound_string(&mut self) -> Option<()> {
        self.take(b"\"").then_some(())?;
        loop {
            let byte = self.next()?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => self.sound_escape()?,
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn sound_escape(&mut self) -> Option<()> {
        let byte = self.next()?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.rest().get(..4)?;
                self.at += 4;
                // Halves of a pair are left to Python, which refuses single ones.
                let half = matches!(
                    digits,
                    [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]
                );
                (!half && digits.iter().all(u8::is_ascii_hexdigit)).then_some(())
            }
            _ => None,
        }
    }

    fn sound_number(&mut self) -> Option<()> {
        self.take(b"-");
        if !self.take(b"0") {
            self.digits()?;
        }
        if self.take(b".") {
            self.digits()?;
        }
        if self.take(b"e") || self.take(b"E") {
            let _ = self.take(b"+") || self.take(b"-");
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += count;
        (count > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    fn is_sound(text: &str) -> bool {
        let mut read = Reader::at(text.as_bytes(), 0);
        read.value().is_some() && read.is_at_end()
    }

    #[test]
    fn sound_values_pass() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0.5e+10",
            "12E9",
            "\"\"",
            "\"a\\u00e4\\n\\\\\"",
            "[]",
            "{}",
            "[1,[2,{\"a\":[]}],\"]\"]",
            "{\"dns\":{\"query\":\"a.b.\",\"ips\":[\"1.2.3.4\"]}}",
        ] {
            assert!(is_sound(text), "{text}");
        }
    }

    #[test]
    fn nothing_else_does() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        for text in [
            "",
            "nul",
            "True",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "\"",
            "\"\\q\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "[1,]",
            "[,1]",
            "[1 ]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1}",
            "1 ",
            &deep,
        ] {
            assert!(!is_sound(text), "{text}");
        }
    }

    #[test]
    fn a_value_is_skipped_to_its_end() {
        for (text, rest) in [
            ("\"a\\\"}\",1", ",1"),
            ("{\"}\":[\"]\\\\\",{}]},1", ",1"),
            ("12,1", ",1"),
            ("true}", "}"),
        ] {
            let mut read = Reader::at(text.as_bytes(), 0);
            assert_eq!(read.skip(), Some(()));
            assert_eq!(read.rest(), rest.as_bytes());
        }
        for text in ["", "\"a", "\"a\\\"", "{\"a\":[}", "12"] {
            assert_eq!(Reader::at(text.as_bytes(), 0).skip(), None, "{text}");
        }
    }
}
