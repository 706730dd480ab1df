//! What a tree of stages takes from the list.

use std::time::Duration;

use crate::{Beside, Branch, Stage, StageStatus, complete};

fn stage(name: &str, seconds: u64, error: Option<&str>) -> Stage {
    let (took, error) = (Duration::from_secs(seconds), error.map(str::to_owned));
    Stage { name: name.to_owned(), status: StageStatus::Failed, took, error }
}

#[test]
fn why_a_stage_failed_and_how_long_it_took_come_from_the_list_in_their_order() {
    let leaf = |name, seconds| Branch {
        stage: stage(name, seconds, None),
        beside: Beside::After,
        children: Vec::new(),
    };
    let mut tree = [Branch { children: vec![leaf("unit", 0), leaf("unit", 9)], ..leaf("Test", 0) }];
    let list = [
        stage("Test", 5, None),
        stage("unit", 2, Some("exit code 1")),
        stage("unit", 3, Some("exit code 2")),
        stage("other", 4, Some("not in the tree")),
    ];
    complete(&mut tree, &list);
    let [test] = &tree;
    assert_eq!(test.stage, stage("Test", 5, None));
    let units: Vec<_> = test.children.iter().map(|one| one.stage.clone()).collect();
    assert_eq!(units, [stage("unit", 2, Some("exit code 1")), stage("unit", 9, Some("exit code 2"))]);
}
