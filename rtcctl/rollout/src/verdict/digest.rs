//! One digest: the pods run what was wanted, and nothing else.

use super::Applied;
use super::stand;
use crate::code::Code;
use crate::failure::{Cause, Finality, Reference};
use crate::objects::{Object, Pod};

pub enum Images {
    AsWanted,
    /// Not all pods say yet what they run.
    Unknown(String),
    Other(Box<Cause>),
}

/// Looks at what `pods` run, of which there have to be as many as `needed`.
pub fn one(applied: &Applied, object: &Object, pods: &[&Pod], needed: u32) -> Images {
    let other = |why: String, about: Reference| {
        Images::Other(Box::new(Cause {
            code: Code::WrongDigest,
            finality: Finality::Final,
            why,
            about: vec![about],
        }))
    };
    let Some(template) = stand::template(object) else { return Images::AsWanted };
    for wanted in &applied.wanted {
        let asked = template.containers.iter().find(|container| container.name == wanted.container);
        // A generation that we do not know yet may still be the old wish.
        let is_ours = object.meta().generation >= applied.generation;
        if let Some((_, digest)) = asked.and_then(|container| container.image.split_once('@'))
            && is_ours
            && !wanted.digests.iter().any(|known| known == digest)
        {
            let why = format!(
                "container {} of {} is asked to run {digest}, wanted was {}",
                wanted.container,
                applied.target,
                wanted.digests.join(" or ")
            );
            return other(why, Reference::to(object));
        }
    }
    let mut running = 0;
    let mut silent = None;
    for pod in pods.iter().filter(|pod| pod.is_alive()) {
        let mut says_all = true;
        for wanted in &applied.wanted {
            let status = pod.status.containers.iter().find(|status| status.name == wanted.container);
            match status.and_then(|status| status.digest()) {
                Some(digest) if wanted.digests.iter().any(|known| known == digest) => {}
                Some(digest) => {
                    let why = format!(
                        "container {} of pod {} runs {digest}, wanted was {}",
                        wanted.container,
                        pod.metadata.name,
                        wanted.digests.join(" or ")
                    );
                    return other(why, Reference::to_pod(pod, Some(&wanted.container)));
                }
                None => {
                    silent.get_or_insert_with(|| pod.metadata.name.clone());
                    says_all = false;
                }
            }
        }
        running += u32::from(says_all);
    }
    if running >= needed {
        return Images::AsWanted;
    }
    Images::Unknown(match silent {
        Some(pod) => format!("pod {pod} does not say yet which image it runs"),
        None => format!("{running} of {needed} new pods are seen"),
    })
}
