//! The object store port on S3 and what speaks its protocol.
//!
//! Invariants: a call ends within its deadline, tries again included; the bucket is an operator's to make: one that is
//! not there is an error, at the start and later, and never looks like a missing object.

mod address;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kernel::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
};
use objects::{Error, Key, LIST_MAX, Listed, Object, Objects};

use address::Address;

#[derive(Debug, Clone)]
pub struct Options {
    /// How long a call may take with all its tries.
    pub deadline: Duration,
    pub connect_timeout: Duration,
    pub retries_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), connect_timeout: Duration::from_secs(2), retries_max: 3 }
    }
}

/// Why a store is not opened: what no waiting mends.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("not the address of a bucket: {0}")]
    Url(String),
    #[error("{0}")]
    Refused(String),
}

/// Opens `s3://bucket/prefix?endpoint=http://…&region=…&path_style=true`. Credentials are those of the environment:
/// keys, a web identity (IRSA), a pod's or a machine's role. A store that cannot be reached is no reason not to start:
/// a warning says so.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Objects>, OpenError> {
    let address = Address::parse(url).map_err(OpenError::Url)?;
    connect(AmazonS3Builder::from_env(), address, options).await
}

async fn connect(
    builder: AmazonS3Builder,
    address: Address,
    options: Options,
) -> Result<Arc<dyn Objects>, OpenError> {
    let endpoint =
        address.endpoint.clone().or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let client = ClientOptions::new()
        .with_connect_timeout(options.connect_timeout)
        .with_timeout(options.deadline)
        .with_allow_http(endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")));
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            base: 2.,
        },
        max_retries: options.retries_max,
        retry_timeout: options.deadline / 2,
    };
    let mut builder = builder
        .with_bucket_name(&address.bucket)
        .with_client_options(client)
        .with_retry(retry)
        // One object at a time is removed here.
        .with_disable_bulk_delete(true);
    if let Some(region) = &address.region {
        builder = builder.with_region(region);
    }
    let path_style = address.path_style.unwrap_or(endpoint.is_some());
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(address.endpoint_of_bucket(&endpoint, path_style));
    }
    let s3 = builder.build().map_err(|error| OpenError::Url(error.to_string()))?;
    let store = S3 { s3, bucket: address.bucket, prefix: address.prefix, deadline: options.deadline };
    match store.list("", None, 1).await {
        Ok(_) => {}
        Err(Error::Refused(reason)) => return Err(OpenError::Refused(reason)),
        Err(Error::Unavailable(reason)) => {
            tracing::warn!(reason, bucket = store.bucket, "the object store is away at the start");
        }
    }
    Ok(Arc::new(store))
}

struct S3 {
    s3: AmazonS3,
    bucket: String,
    /// Empty, or with a `/` at its end.
    prefix: String,
    deadline: Duration,
}

/// The status of the answer that an error tells of. The client's own type for it is private, its text is not.
fn status(text: &str) -> Option<u16> {
    let after = text.split_once("status code: ")?.1;
    after.get(..3)?.parse().ok()
}

impl S3 {
    fn path(&self, key: &Key) -> Path {
        Path::from(format!("{}{key}", self.prefix))
    }

    fn failure(&self, error: &object_store::Error) -> Error {
        use object_store::Error as Cause;
        let text = error.to_string();
        if text.contains("NoSuchBucket") {
            let bucket = &self.bucket;
            return Error::Refused(format!("there is no bucket {bucket}: an operator has to make it"));
        }
        let is_refusal = matches!(
            error,
            Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } | Cause::NotSupported { .. }
        );
        // A redirect without an address is how S3 says that the region is another.
        let is_misdirected = text.contains("redirect");
        let is_refused = matches!(status(&text), Some(400 | 401 | 403 | 404 | 405 | 411 | 412 | 501));
        if is_refusal || is_misdirected || is_refused {
            Error::Refused(text)
        } else {
            Error::Unavailable(text)
        }
    }

    /// `None` where there is no such object.
    async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<Option<T>, Error> {
        let deadline = self.deadline;
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error @ object_store::Error::NotFound { .. }))
                if !error.to_string().contains("NoSuchBucket") =>
            {
                Ok(None)
            }
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(Error::Unavailable(format!("no answer within {} s", deadline.as_secs_f32()))),
        }
    }
}

#[async_trait]
impl Objects for S3 {
    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<(), Error> {
        let mut options = PutOptions::default();
        options.attributes.insert(Attribute::ContentType, content_type.to_owned().into());
        let path = self.path(key);
        match self.ask(self.s3.put_opts(&path, bytes.into(), options)).await? {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!("bucket {} takes no objects", self.bucket))),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        let path = self.path(key);
        self.ask(async {
            let found = self.s3.get(&path).await?;
            let etag = found.meta.e_tag.clone().unwrap_or_default().trim_matches('"').to_owned();
            Ok(Object { bytes: found.bytes().await?, etag })
        })
        .await
    }

    async fn exists(&self, key: &Key) -> Result<bool, Error> {
        let path = self.path(key);
        Ok(self.ask(self.s3.head(&path)).await?.is_some())
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        self.ask(self.s3.delete(&path)).await.map(drop)
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        let limit = limit.min(LIST_MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let prefix = format!("{}{prefix}", self.prefix);
        let mut after = after.map(|key| format!("{}{key}", self.prefix));
        let mut found = Vec::new();
        // What lies in the bucket under names that are no keys is passed over.
        loop {
            let wanted = limit - found.len();
            let options =
                PaginatedListOptions { offset: after.take(), max_keys: Some(wanted), ..Default::default() };
            let page = self.ask(self.s3.list_paginated(Some(&prefix), options)).await?;
            let Some(page) = page else {
                return Err(Error::Refused(format!("bucket {} cannot be listed", self.bucket)));
            };
            after = page.result.objects.last().map(|last| last.location.to_string());
            for object in page.result.objects {
                let name =
                    object.location.as_ref().strip_prefix(&self.prefix).and_then(|name| Key::new(name).ok());
                let modified_at = Timestamp::from_millis(object.last_modified.timestamp_millis());
                found.extend(name.map(|key| Listed { key, bytes: object.size, modified_at }));
            }
            if found.len() >= limit || page.page_token.is_none() || after.is_none() {
                return Ok(found);
            }
        }
    }
}
