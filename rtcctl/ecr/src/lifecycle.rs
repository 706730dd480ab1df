//! What a lifecycle deletes: as a policy that ECR carries out, and as a function that can be asked before.
//!
//! Invariants: what refers to an image (its bill of materials, its signature) lives and dies with it and is counted by
//! no rule; what an index holds is kept as long as the index is; one image is expired by one rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::Timestamp;
use serde_json::{Value, json};

use crate::Image;

/// How long images stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// What has no tag goes after this many days.
    pub untagged_days: u32,
    /// So many stay, the last pushed first.
    pub kept: u32,
}

/// Why an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Untagged,
    Surplus,
    /// Nothing that it refers to stays.
    Orphan,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Untagged => "without a tag for too long",
            Why::Surplus => "newer images are enough",
            Why::Orphan => "belongs to an image that goes",
        }
    }
}

impl Lifecycle {
    /// As ECR wants it ("Lifecycle policy properties", Amazon ECR User Guide).
    pub fn policy(&self) -> Value {
        json!({"rules": [
            {
                "rulePriority": 1,
                "description": "images without a tag",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": self.untagged_days,
                },
                "action": {"type": "expire"},
            },
            {
                "rulePriority": 2,
                "description": "all but the last releases",
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": self.kept,
                },
                "action": {"type": "expire"},
            },
        ]})
    }

    /// What would go now, with the reason. `held` are the digests that each index holds.
    pub fn expired<'a>(
        &self,
        images: &'a [Image],
        held: &BTreeMap<String, Vec<String>>,
        now: Timestamp,
    ) -> Vec<(&'a Image, Why)> {
        let oldest = now.minus(Duration::from_secs(u64::from(self.untagged_days) * 86_400));
        let digests: BTreeSet<&str> = images.iter().map(|image| image.digest.as_str()).collect();
        let in_index: BTreeSet<&str> = held
            .iter()
            .filter(|(index, _)| digests.contains(index.as_str()))
            .flat_map(|(_, children)| children.iter().map(String::as_str))
            .collect();
        let stands_alone = |image: &Image| {
            image.subject.is_none() && !(image.tags.is_empty() && in_index.contains(image.digest.as_str()))
        };
        let mut counted: Vec<&Image> = images.iter().filter(|image| stands_alone(image)).collect();
        counted.sort_by(|a, b| b.pushed_at.cmp(&a.pushed_at).then_with(|| a.digest.cmp(&b.digest)));
        let mut doomed: BTreeMap<&str, Why> = BTreeMap::new();
        for image in &counted {
            if image.tags.is_empty() && image.pushed_at < oldest {
                doomed.insert(&image.digest, Why::Untagged);
            }
        }
        // What has no tag is the first rule's alone, and counts here all the same: an image that matches a rule's tags is
        // never expired by a rule of lower priority ("How the lifecycle policy evaluator works").
        for image in counted.iter().skip(usize::try_from(self.kept).unwrap_or(usize::MAX)) {
            if !image.tags.is_empty() {
                doomed.insert(&image.digest, Why::Surplus);
            }
        }
        // What belongs to another follows it: a child whose indexes all go, an artifact whose subject goes or is gone.
        // Once for every link of a chain (an artifact of a child of an index).
        loop {
            let before = doomed.len();
            for image in images {
                let digest = image.digest.as_str();
                if doomed.contains_key(digest) {
                    continue;
                }
                let follows = match &image.subject {
                    Some(subject) => {
                        !digests.contains(subject.as_str()) || doomed.contains_key(subject.as_str())
                    }
                    None if image.tags.is_empty() && in_index.contains(digest) => held
                        .iter()
                        .filter(|(index, children)| {
                            digests.contains(index.as_str()) && children.iter().any(|child| child == digest)
                        })
                        .all(|(index, _)| doomed.contains_key(index.as_str())),
                    None => false,
                };
                if follows {
                    doomed.insert(digest, Why::Orphan);
                }
            }
            if doomed.len() == before {
                break;
            }
        }
        images.iter().filter_map(|image| Some((image, *doomed.get(image.digest.as_str())?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 100 * DAY;

    fn image(digest: &str, age_days: i64, tags: &[&str]) -> Image {
        Image {
            digest: digest.to_owned(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            pushed_at: Timestamp::from_millis(NOW - age_days * DAY),
            bytes: 1,
            media_type: None,
            artifact_type: None,
            subject: None,
            pulled_at: None,
        }
    }

    fn of(subject: &str, digest: &str, age_days: i64) -> Image {
        Image { subject: Some(subject.to_owned()), ..image(digest, age_days, &[]) }
    }

    fn expired(images: &[Image], held: &[(&str, &[&str])]) -> Vec<(String, Why)> {
        let held = held
            .iter()
            .map(|(index, children)| {
                ((*index).to_owned(), children.iter().map(|&child| child.to_owned()).collect())
            })
            .collect();
        Lifecycle { untagged_days: 7, kept: 2 }
            .expired(images, &held, Timestamp::from_millis(NOW))
            .into_iter()
            .map(|(image, why)| (image.digest.clone(), why))
            .collect()
    }

    #[test]
    fn the_newest_stay_and_what_has_no_tag_goes_by_age() {
        let images = [
            image("a", 30, &["v1"]),
            image("b", 20, &["v2"]),
            image("c", 10, &[]),
            image("d", 1, &["v3"]),
            image("e", 7, &[]),
        ];
        let went = expired(&images, &[]);
        let wanted = [("a", Why::Surplus), ("b", Why::Surplus), ("c", Why::Untagged)];
        assert_eq!(went, wanted.map(|(digest, why)| (digest.to_owned(), why)));
    }

    #[test]
    fn what_has_no_tag_counts_and_goes_by_its_age_alone() {
        let images =
            [image("a", 2, &[]), image("b", 1, &["v2"]), image("c", 0, &["v3"]), image("d", 3, &["v1"])];
        assert_eq!(expired(&images, &[]), [("d".to_owned(), Why::Surplus)]);
    }

    #[test]
    fn what_refers_to_an_image_stays_with_it_and_goes_with_it() {
        let images = [
            image("a", 30, &["v1"]),
            of("a", "a-sbom", 30),
            of("a-sbom", "a-sbom-signature", 30),
            image("b", 20, &["v2"]),
            of("b", "b-sbom", 20),
            image("c", 1, &["v3"]),
            of("gone", "stray", 1),
        ];
        let went = expired(&images, &[]);
        let wanted = [
            ("a", Why::Surplus),
            ("a-sbom", Why::Orphan),
            ("a-sbom-signature", Why::Orphan),
            ("stray", Why::Orphan),
        ];
        assert_eq!(went, wanted.map(|(digest, why)| (digest.to_owned(), why)));
    }

    #[test]
    fn what_an_index_holds_is_kept_as_long_as_one_index_that_holds_it_is() {
        let images = [
            image("old", 30, &["v1"]),
            image("shared", 30, &[]),
            image("alone", 30, &[]),
            image("new", 2, &["v2"]),
            image("newest", 1, &["v3"]),
        ];
        let held: [(&str, &[&str]); 2] = [("old", &["shared", "alone"]), ("new", &["shared"])];
        let went = expired(&images, &held);
        assert_eq!(went, [("old".to_owned(), Why::Surplus), ("alone".to_owned(), Why::Orphan)]);
    }

    #[test]
    fn the_policy_says_the_same_to_ecr() {
        let policy = Lifecycle { untagged_days: 7, kept: 30 }.policy();
        assert_eq!(policy["rules"][0]["selection"]["countNumber"], 7);
        assert_eq!(policy["rules"][1]["selection"]["countNumber"], 30);
        assert_eq!(policy["rules"][1]["selection"]["countType"], "imageCountMoreThan");
    }
}
