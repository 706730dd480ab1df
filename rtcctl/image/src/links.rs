//! Where a path leads through symlinks, wherever they are kept: on a machine, in a tree that is being made, in layers.
//!
//! Invariants: an absolute link begins at the root, `..` does not lead out of it, and a circle ends.

use std::collections::VecDeque;

/// Links that lead on more often than this are a circle.
const LINKS_MAX: usize = 40;

/// The path after all links, without `/` at its beginning; `None` in a circle. `target_of` tells where the link at a path, of the
/// same form, leads, and nothing where there is no link.
pub(crate) fn follow<E>(
    path: &str,
    mut target_of: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    let mut ahead: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut followed = 0;
    while let Some(part) = ahead.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => done.push(part),
        }
        let Some(target) = target_of(&done.join("/"))? else { continue };
        followed += 1;
        if followed > LINKS_MAX {
            return Ok(None);
        }
        done.pop();
        if target.starts_with('/') {
            done.clear();
        }
        for part in target.split('/').rev() {
            ahead.push_front(part.to_owned());
        }
    }
    Ok(Some(done.join("/")))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn follow_all(path: &str, links: &[(&str, &str)]) -> Option<String> {
        let target_of = |at: &str| -> Result<_, Infallible> {
            let found = links.iter().find(|(from, _)| *from == at);
            Ok(found.map(|(_, to)| (*to).to_owned()))
        };
        follow(path, target_of).unwrap()
    }

    #[test]
    fn forty_links_are_a_way_and_one_more_is_a_circle() {
        let names: Vec<String> = (0..=LINKS_MAX + 1).map(|number| format!("l{number}")).collect();
        let links: Vec<(&str, &str)> =
            names.iter().zip(&names[1..]).map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(follow_all("/l1/file", &links), Some(format!("{}/file", names[LINKS_MAX + 1])));
        assert_eq!(follow_all("/l0/file", &links), None);
    }

    #[test]
    fn links_are_read_where_they_stand_and_the_root_is_not_left() {
        let links = [("a/b", "../c"), ("c", "/d"), ("up", "../../x")];
        assert_eq!(follow_all("/a/./b//e", &links).as_deref(), Some("d/e"));
        assert_eq!(follow_all("up/../y", &links).as_deref(), Some("y"));
        assert_eq!(follow_all("", &links).as_deref(), Some(""));
    }
}
