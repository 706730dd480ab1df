//! How containers behave, by their image.

/// What becomes of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// It is ready so many turns after it was started. That of a Job ends well instead.
    Ready { after: u32 },
    /// The registry does not have the image.
    ImageMissing,
    /// The image has nothing for the node's machine.
    PlatformMissing,
    /// The registry does not let the node.
    PullDenied,
    /// It ends with this code again and again, having said this.
    Crash { exit_code: i32, log: Vec<String> },
    /// It is killed for its memory again and again.
    OutOfMemory,
    /// A ConfigMap of this name is not there.
    ConfigMissing { name: String },
    /// It is for another machine.
    WrongFormat,
    /// It runs, and its probe never succeeds.
    NeverReady,
    /// No node has room; with `node_coming` the autoscaler says that it adds one.
    Unschedulable { node_coming: bool },
    /// It is created for ever: a volume, a network.
    NeverCreated,
}

impl Behaviour {
    /// Ready in the turn after it was started.
    pub fn well() -> Self {
        Behaviour::Ready { after: 1 }
    }
}

/// A behaviour of the containers whose image has this in it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub image: String,
    pub behaviour: Behaviour,
}

/// How a container of this image behaves.
pub fn of(rules: &[Rule], image: &str) -> Behaviour {
    let rule = rules.iter().find(|rule| image.contains(&rule.image));
    rule.map_or_else(Behaviour::well, |rule| rule.behaviour.clone())
}
