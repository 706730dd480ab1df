//! A repository as it should be.

use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, ImageTagMutability, Repository, Tag,
};

use crate::{Ecr, Error, Kind, Lifecycle, Result};

/// How a repository is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub tags: Tags,
    pub scan: Scan,
    pub lifecycle: Option<Lifecycle>,
    /// A key of KMS; S3's own encryption without one.
    pub key: Option<String>,
}

/// Whether a tag may be moved to another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    Immutable,
    Mutable,
}

/// When images are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    OnPush,
    OnRequest,
}

/// One thing that is not as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub what: &'static str,
    pub is: String,
    pub wanted: String,
}

/// Whether it had to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// It was not there; and what became of its lifecycle.
    Created(Kept),
    /// It exists, with what differs; nothing was changed.
    Existed(Vec<Difference>),
}

/// What became of a lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The repository has one, or is somebody else's.
    AsItIs,
    /// It had none, and has one now.
    Put,
    /// It has none, and we may not give it one.
    Refused(Error),
}

/// How a repository says that we made it.
const TAG: (&str, &str) = ("managed-by", "rtcctl");

impl Ecr {
    /// Creates the repository where there is none. One that exists is left as it is, and told about: Terraform, or
    /// somebody, made it so. That a lifecycle is refused is no reason to be without a repository.
    pub async fn ensure_repository(&self, wanted: &Wanted) -> Result<Ensured> {
        match self.repository(&wanted.name).await {
            Ok(found) => return Ok(Ensured::Existed(self.differences(&found, wanted).await?)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let scan = ImageScanningConfiguration::builder().scan_on_push(wanted.scan == Scan::OnPush).build();
        let mut request = self
            .client
            .create_repository()
            .set_registry_id(self.account.clone())
            .repository_name(&wanted.name)
            .image_scanning_configuration(scan)
            .image_tag_mutability(match wanted.tags {
                Tags::Immutable => ImageTagMutability::Immutable,
                Tags::Mutable => ImageTagMutability::Mutable,
            });
        if let Some(key) = &wanted.key {
            let encryption =
                EncryptionConfiguration::builder().encryption_type(EncryptionType::Kms).kms_key(key).build();
            let encryption = encryption
                .map_err(|error| Error::new(Kind::Invalid, "ecr:CreateRepository", error.to_string()))?;
            request = request.encryption_configuration(encryption);
        }
        let tag = Tag::builder().key(TAG.0).value(TAG.1).build();
        let tag =
            tag.map_err(|error| Error::new(Kind::Invalid, "ecr:CreateRepository", error.to_string()))?;
        match request.tags(tag).send().await.map_err(|error| Error::of("ecr:CreateRepository", error)) {
            Ok(_) => {}
            // Somebody else made it between the look and this.
            Err(error) if error.kind == Kind::Conflict => {
                let found = self.repository(&wanted.name).await?;
                return Ok(Ensured::Existed(self.differences(&found, wanted).await?));
            }
            Err(error) => return Err(error),
        }
        match &wanted.lifecycle {
            Some(lifecycle) => Ok(Ensured::Created(self.put_lifecycle(&wanted.name, lifecycle).await?)),
            None => Ok(Ensured::Created(Kept::AsItIs)),
        }
    }

    /// Gives a repository that we made its lifecycle where it has none: it was refused when the repository was made, or
    /// did not come to it. One that somebody else made is left as it is.
    pub async fn ensure_lifecycle(&self, repository: &str, lifecycle: &Lifecycle) -> Result<Kept> {
        if self.lifecycle_policy(repository).await?.is_some() {
            return Ok(Kept::AsItIs);
        }
        let found = self.repository(repository).await?;
        match self.is_ours(&found).await? {
            true => self.put_lifecycle(repository, lifecycle).await,
            false => Ok(Kept::AsItIs),
        }
    }

    async fn put_lifecycle(&self, repository: &str, lifecycle: &Lifecycle) -> Result<Kept> {
        let put = self
            .client
            .put_lifecycle_policy()
            .set_registry_id(self.account.clone())
            .repository_name(repository)
            .lifecycle_policy_text(lifecycle.policy().to_string())
            .send()
            .await
            .map_err(|error| Error::of("ecr:PutLifecyclePolicy", error));
        match put {
            Ok(_) => Ok(Kept::Put),
            Err(error) if error.is_passing() => Err(error),
            Err(error) => Ok(Kept::Refused(error)),
        }
    }

    async fn is_ours(&self, repository: &Repository) -> Result<bool> {
        let answer = self
            .client
            .list_tags_for_resource()
            .set_resource_arn(repository.repository_arn().map(str::to_owned))
            .send()
            .await
            .map_err(|error| Error::of("ecr:ListTagsForResource", error))?;
        Ok(answer.tags().iter().any(|tag| (tag.key(), tag.value()) == TAG))
    }

    async fn repository(&self, name: &str) -> Result<Repository> {
        const OPERATION: &str = "ecr:DescribeRepositories";
        let answer = self
            .client
            .describe_repositories()
            .set_registry_id(self.account.clone())
            .repository_names(name)
            .send()
            .await
            .map_err(|error| Error::of(OPERATION, error))?;
        let found = answer.repositories.unwrap_or_default().into_iter().next();
        found.ok_or_else(|| Error::new(Kind::Fault, OPERATION, "the answer names no repository"))
    }

    async fn differences(&self, found: &Repository, wanted: &Wanted) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        let mut compare = |what, is: &str, wanted: &str| {
            if is != wanted {
                differences.push(Difference { what, is: is.to_owned(), wanted: wanted.to_owned() });
            }
        };
        let tags = found.image_tag_mutability().map_or("MUTABLE", ImageTagMutability::as_str);
        compare(
            "tags",
            tags,
            match wanted.tags {
                Tags::Immutable => "IMMUTABLE",
                Tags::Mutable => "MUTABLE",
            },
        );
        let scans =
            found.image_scanning_configuration().is_some_and(ImageScanningConfiguration::scan_on_push);
        let word = |on_push| if on_push { "on push" } else { "on request" };
        compare("scan", word(scans), word(wanted.scan == Scan::OnPush));
        if let Some(lifecycle) = &wanted.lifecycle {
            match self.lifecycle_policy(&wanted.name).await? {
                None => compare("lifecycle", "none", "a policy"),
                Some(text) => {
                    // Another description is no other policy.
                    let is = serde_json::from_str(&text).map(without_words).unwrap_or_default();
                    if is != without_words(lifecycle.policy()) {
                        compare("lifecycle", "another policy", "the policy of rtc.toml");
                    }
                }
            }
        }
        Ok(differences)
    }

    /// The policy of a repository as ECR keeps it.
    pub async fn lifecycle_policy(&self, repository: &str) -> Result<Option<String>> {
        let answer = self
            .client
            .get_lifecycle_policy()
            .set_registry_id(self.account.clone())
            .repository_name(repository)
            .send()
            .await
            .map_err(|error| Error::of("ecr:GetLifecyclePolicy", error));
        match answer {
            Ok(answer) => Ok(answer.lifecycle_policy_text),
            Err(error) if error.code.as_deref() == Some("LifecyclePolicyNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn without_words(mut policy: serde_json::Value) -> serde_json::Value {
    for rule in policy["rules"].as_array_mut().into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            rule.remove("description");
        }
    }
    policy
}
