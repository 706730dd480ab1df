//! The job that brings the schemas up to date, before anything new runs.
//!
//! Invariant: its name is that of the image and of what the job is told, so that each release runs it once, a repetition
//! finds it done, and nothing tries to change a job, which the cluster refuses.

use serde_json::json;

use super::draft::Draft;
use super::{Object, Wave, pod, settings};
use crate::Release;

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let target = release.migrating();
    if !target.needs.database {
        return Vec::new();
    }
    let template = pod::migrating(release, &target);
    let settings = settings::hash(release, "migrate", &target);
    let told = format!("{settings} {template}")
        .replace(&release.image.to_string(), "")
        .replace(release.image.short(), "");
    let told = settings::fingerprint(told.as_bytes());
    let name = format!("migrate-{}-{}", release.image.short(), &told[..6]);
    let spec = json!({
        "backoffLimit": 2,
        "activeDeadlineSeconds": release.description.migration.deadline_s,
        "ttlSecondsAfterFinished": 7 * 24 * 3600,
        "template": template,
    });
    vec![Draft::new(release, Wave::Migration, "batch/v1", "Job", &name, "migrate").spec(spec).done()]
}
