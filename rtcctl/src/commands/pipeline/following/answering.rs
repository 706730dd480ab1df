//! What a build asks, asked at the terminal: agreed to, then parameter by parameter.
//!
//! Invariants: what was typed before a question answers nothing; a protected environment has its name typed; an answer is in
//! the journal before it is sent.

use codes::{Error, Result};
use jenkins::{Input, ParameterKind, Problem, Watch, check};
use serde_json::json;

use super::Follower;
use crate::commands::pipeline::input::Answer;
use crate::commands::pipeline::{failed, shape};
use crate::recording::Recording;

/// A question that is being asked.
pub(super) struct Question {
    input: Input,
    answers: Vec<(String, String)>,
    stand: Stand,
}

/// How far the operator has agreed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Open,
    /// The name of the protected environment is wanted.
    Unnamed,
    Agreed,
}

impl Follower<'_> {
    pub(super) fn ask(&mut self, inputs: Vec<Input>) {
        let progress = &self.context.progress;
        let still =
            self.question.as_ref().is_some_and(|asked| inputs.iter().any(|one| one.id == asked.input.id));
        if self.question.is_some() && !still {
            self.question = None;
            self.rests = false;
            progress.say("somebody else has answered");
        }
        if still {
            return;
        }
        self.keyboard.forget();
        if !self.keyboard.is_there(self.context) {
            for finding in shape::waits(&inputs, &self.named) {
                progress.say(format!("{}; {}", finding.message, finding.hints.join(" ")));
            }
            return;
        }
        if let Some(input) = inputs.into_iter().next() {
            self.rest();
            let proceed = shape::plain(&input.proceed);
            progress.write(&format!(
                "{} [approve{}/abort/later] ",
                shape::plain(&input.message),
                if proceed.is_empty() { String::new() } else { format!(" ({proceed})") }
            ));
            self.question = Some(Question { input, answers: Vec::new(), stand: Stand::Open });
        }
    }

    /// Bars would draw over what is typed.
    pub(super) fn rest(&mut self) {
        if self.context.progress.has_bars() {
            self.rests = true;
            self.open.iter_mut().for_each(|task| drop(task.take()));
            self.queue = None;
        }
    }

    /// A line of the operator's, while a question stands.
    pub(super) async fn answered(&mut self, line: Option<String>, watch: &Watch<'_>) -> Result<()> {
        let (Some(mut question), Some(number)) = (self.question.take(), watch.number()) else {
            return Ok(());
        };
        let progress = &self.context.progress;
        let Some(line) = line else {
            progress.say(format!("nobody answers; rtcctl pipeline input {} approve", self.named));
            return Ok(());
        };
        match question.stand {
            Stand::Open => match line.to_lowercase().as_str() {
                "approve" | "y" | "yes" | "a" => {
                    let wants_name = self.protected.is_some();
                    question.stand = if wants_name { Stand::Unnamed } else { Stand::Agreed };
                }
                "abort" | "n" | "no" => return self.give(Answer::Abort, &question, watch, number).await,
                "later" | "l" => {
                    progress.say(format!("left open; rtcctl pipeline input {} approve", self.named));
                    return Ok(());
                }
                _ => {
                    progress.write("approve, abort or later? ");
                    self.question = Some(question);
                    self.rests = progress.has_bars();
                    return Ok(());
                }
            },
            Stand::Unnamed if self.protected.as_deref() == Some(line.as_str()) => {
                question.stand = Stand::Agreed;
            }
            Stand::Unnamed => {
                progress.say(format!(
                    "{line:?} is not its name, and nothing was approved; rtcctl pipeline input {} approve",
                    self.named
                ));
                return Ok(());
            }
            Stand::Agreed => self.parameter(&mut question, line),
        }
        let next = match (question.stand, &self.protected) {
            (Stand::Unnamed, Some(name)) => {
                Some(format!("This approves it for {name}. Type {name} to go on: "))
            }
            _ => question.input.parameters.get(question.answers.len()).map(wanted),
        };
        match next {
            Some(next) => {
                progress.write(&next);
                self.question = Some(question);
                self.rests = progress.has_bars();
                Ok(())
            }
            None => self.give(Answer::Approve, &question, watch, number).await,
        }
    }

    /// The value of the parameter that was asked for last, where it may be one.
    fn parameter(&self, question: &mut Question, line: String) {
        let Some(asked) = question.input.parameters.get(question.answers.len()) else { return };
        let value = match line.is_empty() {
            true => asked.default.clone().unwrap_or_default(),
            false => line,
        };
        let given = [(asked.name.clone(), value)];
        let problem = check(&question.input.as_parameters(), &given)
            .into_iter()
            .find(|problem| !matches!(problem, Problem::Missing { .. }));
        match problem {
            Some(problem) => self.context.progress.say(problem.to_string()),
            None => question.answers.extend(given),
        }
    }

    /// Writes down what was answered, and answers. Values of parameters may be secrets, and are in no journal.
    async fn give(
        &mut self,
        answer: Answer,
        question: &Question,
        watch: &Watch<'_>,
        number: u64,
    ) -> Result<()> {
        let input = &question.input;
        let inputs = [
            ("job", watch.job().to_string()),
            ("build", number.to_string()),
            ("question", input.id.clone()),
            ("answer", answer.word().to_owned()),
        ];
        // A build that somebody else started has no run to write it into.
        let mut own = None;
        match &mut self.recording {
            Some(recording) => {
                let told = json!({"question": input.id, "message": input.message, "answer": answer.word()});
                recording.note("answer", told)?;
            }
            None => {
                let inputs = inputs.map(|(key, value)| (key.to_owned(), value));
                let mut recording = Recording::begin(self.context, "pipeline input", inputs)?;
                recording.step("answer", format!("{} {}", input.id, answer.word()))?;
                own = Some(recording);
            }
        }
        let done = match answer {
            Answer::Approve => self.client.proceed(watch.job(), number, input, &question.answers).await,
            Answer::Abort => self.client.abort(watch.job(), number, input).await,
        };
        let taken = match done {
            Ok(()) => None,
            // Somebody may have been faster, which ends nothing.
            Err(jenkins::Error::NotFound { .. }) => {
                self.context.progress.say("somebody else has answered");
                Some(Error::new(&codes::PIP016, format!("somebody else has answered {}", input.id)))
            }
            Err(error) => {
                let error = failed::of(error);
                return Err(match own {
                    Some(own) => own.failed(error),
                    None => error,
                });
            }
        };
        match (own, &mut self.recording, taken) {
            (Some(mut own), _, None) => {
                own.finished(json!({"answer": answer.word()}))?;
                own.ended(format!("{}: build {number} of {}", answer.word(), watch.job()))?;
            }
            (Some(own), _, Some(late)) => drop(own.failed(late)),
            (None, Some(recording), Some(_)) => {
                recording.note("answered by somebody else", json!({"question": input.id}))?;
            }
            (None, ..) => {}
        }
        Ok(())
    }
}

/// How a parameter is asked for.
fn wanted(next: &jenkins::InputParameter) -> String {
    let choices = match &next.kind {
        ParameterKind::Choice(choices) => format!(" ({})", choices.join(", ")),
        _ => String::new(),
    };
    let default = next.default.as_ref().map(|text| format!(" [{}]", shape::plain(text))).unwrap_or_default();
    format!("{}{}{default}: ", shape::plain(&next.name), shape::plain(&choices))
}
