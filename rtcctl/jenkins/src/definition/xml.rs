//! The small part of XML that `config.xml` is written in: elements, attributes, text.
//!
//! Invariant: what is printed is read back as the same.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Nobody nests deeper; whoever does wants to exhaust the stack.
const DEPTH_MAX: usize = 128;

/// What is wanted of an element, where it is part of what is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// It is there and says this.
    #[default]
    Exactly,
    /// It is there; what it says is not ours.
    IfMissing,
    /// It is not there.
    Absent,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    /// White space between children is not kept.
    pub text: String,
    pub demand: Demand,
}

impl Element {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// An element with nothing but a text.
    pub fn leaf(name: &str, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::new(name) }
    }

    #[must_use]
    pub fn class(self, class: &str) -> Self {
        self.attribute("class", class)
    }

    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    #[must_use]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    #[must_use]
    pub fn if_missing(mut self) -> Self {
        self.demand = Demand::IfMissing;
        self
    }

    pub fn absent(name: &str) -> Self {
        Self { demand: Demand::Absent, ..Self::new(name) }
    }

    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child; `None` where there is none.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value.as_str())
    }

    /// Its name without the package: `FolderCredentialsProperty` for people.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }

    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Jenkins writes XML 1.1, where nearly every character may be referred to.
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            let closed = match event {
                Event::Start(start) => {
                    if open.len() >= DEPTH_MAX {
                        return Err(format!("elements are nested more than {DEPTH_MAX} deep"));
                    }
                    open.push(begin(&start)?);
                    continue;
                }
                Event::Empty(start) => begin(&start)?,
                Event::End(_) => open.pop().ok_or("an element ends that has not begun")?,
                Event::Text(text) => {
                    let text =
                        text.xml_content(XmlVersion::Explicit1_1).map_err(|error| error.to_string())?;
                    say(&mut open, &text);
                    continue;
                }
                Event::CData(text) => {
                    let text = text.decode().map_err(|error| error.to_string())?;
                    say(&mut open, &text);
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|error| error.to_string())?;
                    match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(letter) => say(&mut open, letter.encode_utf8(&mut [0; 4])),
                        None => say(
                            &mut open,
                            resolve_predefined_entity(&name)
                                .ok_or_else(|| format!("&{name}; is not understood"))?,
                        ),
                    }
                    continue;
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
                Event::DocType(_) => {
                    return Err("it has a document type, which Jenkins never writes".to_owned());
                }
                Event::Eof => return Err("it ends before its first element does".to_owned()),
            };
            let mut closed = closed;
            if !closed.children.is_empty() && closed.text.trim().is_empty() {
                closed.text.clear();
            }
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return Ok(closed),
            }
        }
    }

    /// The document, as Jenkins takes it.
    pub fn print(&self) -> String {
        let mut text = "<?xml version='1.1' encoding='UTF-8'?>\n".to_owned();
        self.print_into(&mut text, 0);
        text
    }

    fn print_into(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        text.push_str(&format!("{indent}<{}", self.name));
        for (name, value) in &self.attributes {
            text.push_str(&format!(" {name}=\"{}\"", escape(value)));
        }
        let children: Vec<_> = self.children.iter().filter(|child| child.demand != Demand::Absent).collect();
        match (children.is_empty(), self.text.is_empty()) {
            (true, true) => text.push_str("/>\n"),
            (true, false) => text.push_str(&format!(">{}</{}>\n", escape(&self.text), self.name)),
            (false, _) => {
                text.push_str(">\n");
                for child in children {
                    child.print_into(text, depth + 1);
                }
                text.push_str(&format!("{indent}</{}>\n", self.name));
            }
        }
    }
}

fn begin(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element::new(&String::from_utf8_lossy(start.name().as_ref()));
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_1).map_err(|error| error.to_string())?;
        element
            .attributes
            .push((String::from_utf8_lossy(attribute.key.as_ref()).into_owned(), value.into_owned()));
    }
    Ok(element)
}

fn say(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // A reader of XML makes a line feed of a bare one.
            '\u{85}' | '\u{2028}' => escaped.push_str(&format!("&#x{:x};", u32::from(letter))),
            // No reference to nothing is allowed.
            '\0' => escaped.push('\u{fffd}'),
            letter if letter.is_control() && letter != '\n' && letter != '\t' => {
                escaped.push_str(&format!("&#x{:x};", u32::from(letter)))
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jenkins_writes_is_read() {
        let text = "<?xml version='1.1' encoding='UTF-8'?>\n<!-- by hand -->\n<flow-definition plugin=\"workflow-job@2\">\n\
                    \t<description>a &amp; b&#xd;&#x1b;\n  c</description>\n  <keep/><script><![CDATA[x < y]]></script>\n</flow-definition>\n";
        let read = Element::parse(text).unwrap();
        assert_eq!((read.name.as_str(), read.get("plugin")), ("flow-definition", Some("workflow-job@2")));
        assert_eq!(read.text_of("description"), Some("a & b\r\u{1b}\n  c"));
        assert_eq!((read.text_of("keep"), read.text_of("script")), (Some(""), Some("x < y")));
        assert_eq!(read.text, "");
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let wild = "a<b>&\"'\r\n\t\u{1}\u{85}\u{2028}한 🛒 ]]> ";
        let element = Element::new("a.b.C-d")
            .attribute("class", wild.trim_end().replace(['\n', '\t'], "").as_str())
            .with(Element::leaf("x", wild))
            .with(Element::new("y").with(Element::new("z")))
            .with(Element::leaf("x", "  "));
        assert_eq!(Element::parse(&element.print()).unwrap(), element);
    }

    #[test]
    fn what_is_no_definition_is_refused() {
        let deep = "<a>".repeat(10_000);
        for text in ["", "hello", "<a>", "<a></b>", "<a>&nope;</a>", "<!DOCTYPE a><a/>", deep.as_str()] {
            assert!(Element::parse(text).is_err(), "{:?}", &text[..text.len().min(20)]);
        }
    }
}
