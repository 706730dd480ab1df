//! As much YAML as rules need: maps, lists, and texts that are always quoted.

use std::fmt;

#[derive(Debug, Clone)]
pub enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl From<&str> for Yaml {
    fn from(text: &str) -> Self {
        Yaml::Text(text.to_owned())
    }
}

impl Yaml {
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Yaml)>) -> Self {
        Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn write(&self, out: &mut String, depth: usize) {
        let pad = "  ".repeat(depth);
        match self {
            Yaml::Text(text) => {
                // Single quotes: nothing in it but the quote itself means anything.
                out.push_str(&format!(" '{}'\n", text.replace('\'', "''")));
            }
            Yaml::List(items) if items.is_empty() => out.push_str(" []\n"),
            Yaml::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Yaml::List(items) => {
                out.push('\n');
                for item in items {
                    out.push_str(&format!("{pad}-"));
                    match item {
                        Yaml::Map(entries) if !entries.is_empty() => {
                            for (index, (key, value)) in entries.iter().enumerate() {
                                let before = if index == 0 { " ".to_owned() } else { format!("{pad}  ") };
                                out.push_str(&format!("{before}{key}:"));
                                value.write(out, depth + 2);
                            }
                        }
                        other => other.write(out, depth + 1),
                    }
                }
            }
            Yaml::Map(entries) => {
                out.push('\n');
                for (key, value) in entries {
                    out.push_str(&format!("{pad}{key}:"));
                    value.write(out, depth + 1);
                }
            }
        }
    }
}

impl fmt::Display for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, 0);
        f.write_str(out.trim_start_matches('\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_in_lists_in_maps_are_indented() {
        let rule = Yaml::map([("expr", "a{b='c'} > 1".into()), ("labels", Yaml::map([("x", "1".into())]))]);
        let page = Yaml::map([("groups", Yaml::List(vec![rule, Yaml::List(Vec::new())])), ("n", "5".into())]);
        assert_eq!(
            page.to_string(),
            "groups:\n  - expr: 'a{b=''c''} > 1'\n    labels:\n      x: '1'\n  - []\nn: '5'\n"
        );
    }
}
