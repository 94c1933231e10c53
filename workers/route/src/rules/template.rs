//! Messages: text with `{field}` in it.

use schemas::Kind;

use super::fact::{Fact, Path};

/// Bytes of a message once its fields are filled in.
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// A message to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Path),
}

impl Template {
    /// Reads a template. `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// The byte where a mistake begins, and what it is.
    pub(super) fn parse(text: &str, kinds: &[Kind]) -> Result<Template, (usize, String)> {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut at = 0;
        while let Some(next) = text[at..].chars().next() {
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push(next);
                at += 2;
            } else if next == '{' {
                let end = rest.find('}').ok_or_else(|| {
                    (
                        at,
                        "`{` is not closed; write `{field}`, or `{{` for a brace".to_owned(),
                    )
                })?;
                let path = Path::parse(&rest[1..end], kinds).map_err(|problem| (at + 1, problem))?;
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Field(path));
                at += end + 1;
            } else if next == '}' {
                return Err((at, "`}` closes nothing; write `}}` for a brace".to_owned()));
            } else {
                plain.push(next);
                at += next.len_utf8();
            }
        }
        parts.push(Part::Text(plain));
        Ok(Template(parts))
    }

    /// Filled in for an event; `-` stands for what it does not have.
    pub(super) fn fill(&self, fact: &Fact<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(path) => out.push_str(fact.text(path).as_deref().unwrap_or("-")),
            }
            if out.len() > TEXT_BYTES_MAX {
                break;
            }
        }
        shorten(&mut out, TEXT_BYTES_MAX);
        out
    }
}

/// Cuts a text at a number of bytes, saying so.
pub(super) fn shorten(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
}
