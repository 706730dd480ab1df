//! Every stable code that an error or a finding can carry, with what `rtcctl explain` says about it, offline.
//!
//! Invariants: an error or a finding cannot be made without one of these; a code, once published, keeps its meaning
//! and is never given to something else. One file an area; [`all`] joins them.

mod api;
mod cluster;
mod config;
mod deploy;
mod doctor;
mod events;
mod general;
mod image;
mod infra;
mod journal;
mod kubernetes;
mod lint;
mod load;
mod metrics;
mod notices;
mod pipeline;
mod replay;
mod rollout;
mod rtcd;
mod run;
mod ship;
mod status;

pub use api::*;
pub use cluster::*;
pub use config::*;
pub use deploy::*;
pub use doctor::*;
pub use events::*;
pub use general::*;
pub use image::*;
pub use infra::*;
pub use journal::*;
pub use kubernetes::*;
pub use lint::of_lint;
pub use load::*;
pub use metrics::*;
pub use notices::*;
pub use pipeline::*;
pub use replay::*;
pub use rollout::*;
pub use rtcd::*;
pub use run::*;
pub use ship::*;
pub use status::*;

use crate::exit::Exit;

/// A stable code and its documentation.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Three letters for the area, three digits.
    pub id: &'static str,
    /// What the process ends with when an error of this code is not overruled.
    pub exit: Exit,
    /// What happened, in one line.
    pub summary: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

/// Declares the codes of one area as statics of the same name and lists them in the named slice.
macro_rules! codes {
    ($list:ident; $($id:ident ($exit:ident) $summary:literal, $cause:literal, $action:literal;)*) => {
        $(
            #[doc = $summary]
            pub static $id: $crate::Code = $crate::Code {
                id: stringify!($id),
                exit: $crate::exit::$exit,
                summary: $summary,
                cause: $cause,
                action: $action,
            };
        )*
        pub(crate) static $list: &[&$crate::Code] = &[$(&$id),*];
    };
}
pub(crate) use codes;

/// Every code, area by area.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [
        general::GENERAL,
        config::CONFIG,
        api::API,
        rtcd::RTD,
        run::RUN,
        status::STATUS,
        doctor::DOCTOR,
        events::EVENTS,
        load::LOAD,
        metrics::METRICS,
        replay::REPLAY,
        journal::JOURNAL,
        infra::INFRA,
        image::IMAGE,
        cluster::CLUSTER,
        deploy::DEPLOY,
        kubernetes::KUBERNETES,
        notices::NOTICES,
        pipeline::PIPELINE,
        ship::SHIP,
    ]
    .into_iter()
    .flatten()
    .copied()
    .chain(rollout::all())
    .chain(lint::all())
}

/// The code with this id, in any case.
pub fn find(id: &str) -> Option<&'static Code> {
    all().find(|code| code.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests;
