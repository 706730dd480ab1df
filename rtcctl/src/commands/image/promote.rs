//! `rtcctl image promote`: the very image that was tested, where the next environment takes its images from.

use codes::{Error, Result};
use oci::registry::{Access, Tagging};
use oci::transfer::{self, Options};
use serde_json::json;

use super::push::{self, Show};
use super::{access, failed, subject};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::Report;
use crate::recording::Recording;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Within one registry no byte moves: the layers are mounted. The digest stays the same."
)]
pub struct Args {
    /// The image: a reference, by its digest or a tag
    #[arg(value_name = "FROM")]
    from: String,
    /// Where it goes: a reference with the tag that it gets
    #[arg(value_name = "TO")]
    to: String,
    /// Give the tag away even if another image has it
    #[arg(long)]
    move_tag: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let from = subject::remote(&args.from, context).await?;
    let to = subject::remote(&args.to, context).await?;
    let Some(tag) = to.tag().or(from.tag()).filter(|_| to.digest().is_none()) else {
        return Err(Error::new(
            &codes::IMG026,
            format!("{to} names no tag: an image without one is deleted after some days"),
        )
        .with_hint("give it one: HOST/REPOSITORY:TAG; the digest stays what it is"));
    };
    if args.move_tag && context.effect == Effect::Real {
        context.confirm(&format!("give {}:{tag} to another image", to.name()))?;
    }
    let (source, target) =
        (access::repository(&from, Access::Pull, context)?, access::repository(&to, Access::Push, context)?);
    let described = format!("{from} to {}:{tag}", to.name());
    if context.effect == Effect::Described {
        let data = json!({"from": from.to_string(), "to": to.name(), "tag": tag});
        return Ok(Report::new("image/promote", data).with_text(format!("would promote {described}")));
    }
    let inputs =
        [("from", from.to_string()), ("to", to.to_string())].map(|(key, value)| (key.to_owned(), value));
    let mut recording = Recording::begin(context, "image promote", inputs)?;
    recording.step("promote", described)?;
    let options = Options {
        tagging: if args.move_tag { Tagging::Movable } else { Tagging::Immutable },
        events: Show::new(&context.progress, "promote").events(),
        ..Options::default()
    };
    let mut done = transfer::copy(&source, &from.wanted(), &target, Some(tag), &options).await;
    if let Err(oci::Error::NameUnknown { .. }) = &done {
        match push::make_repository(&to, None, context).await {
            Ok(Some(_)) => done = transfer::copy(&source, &from.wanted(), &target, Some(tag), &options).await,
            Ok(None) => {}
            Err(error) => return Err(recording.failed(error)),
        }
    }
    let done = match done {
        Ok(done) => done,
        Err(error) => return Err(recording.failed(failed::of_oci(error))),
    };
    let sentence = match (done.is_unchanged, done.moved) {
        (true, _) => "unchanged: it was there under this tag".to_owned(),
        (false, 0) => format!("no byte moved: {} layers mounted, {} were there", done.mounted, done.existed),
        (false, moved) => format!("{moved} layers copied ({})", human::bytes(done.bytes)),
    };
    let pinned = to.with_digest(done.image.digest).to_string();
    let mut data = json!({
        "from": from.to_string(), "reference": pinned, "digest": done.image.digest, "tag": tag,
        "unchanged": done.is_unchanged,
        "blobs": {"sent": done.moved, "existed": done.existed, "mounted": done.mounted},
        "bytes_sent": done.bytes,
    });
    recording.finished(data.clone())?;
    data["run"] = json!(recording.ended(sentence.clone())?);
    Ok(Report::new("image/promote", data).with_text(sentence).with_text(pinned.clone()).with_names([pinned]))
}
