//! The transition table, whole; and the arithmetic of stock.

use contracts::inventory::StockLine;

use super::*;

/// Rows: triggers. Columns: never heard of, then [`State::ALL`]. A cell: act, `=` already done or `!` refused, then
/// what is said.
const TABLE: &str = "
            none             held             committed        released         expired          returned         refused          lapsed
    Reserve Hold/Reserved    Extend/Reserved  =/Reserved       !/Refused        =/Reserved       =/Reserved       =/Refused        !/Refused
    Commit  !/CommitRefused  Settle/Committed =/Committed      !/CommitRefused  Retake/Committed =/Committed      !/CommitRefused  =/CommitRefused
    Release Mark/Released    LetGo/Released   !/Committed      =/Released       Lapse/Released   =/Released       =/Released       =/Released
    Return  Mark/Returned    LetGo/Returned   Restock/Returned =/Returned       Lapse/Returned   =/Returned       =/Returned       =/Returned
    Expire  !/-              Expire/-         !/-              !/-              =/-              !/-              !/-              =/-
";

fn cell(decision: Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Done(act) => format!("{act:?}"),
        Verdict::AlreadyDone => "=".to_owned(),
        Verdict::Refused => "!".to_owned(),
    };
    format!("{verdict}/{}", decision.reply.map_or("-".to_owned(), |reply| format!("{reply:?}")))
}

fn states() -> impl Iterator<Item = Option<State>> {
    std::iter::once(None).chain(State::ALL.into_iter().map(Some))
}

#[test]
fn every_state_and_trigger_is_done_already_done_or_refused() {
    let mut rows = TABLE.trim().lines().map(str::split_whitespace);
    let header: Vec<&str> = rows.next().unwrap().collect();
    let columns: Vec<String> =
        states().map(|state| state.map_or("none".to_owned(), |s| s.to_string())).collect();
    assert_eq!(header, columns);
    for trigger in Trigger::ALL {
        let mut row = rows.next().unwrap();
        assert_eq!(row.next().unwrap(), format!("{trigger:?}"));
        let expected: Vec<&str> = row.collect();
        let decided: Vec<String> = states().map(|state| cell(decide(state, trigger))).collect();
        assert_eq!(decided, expected, "{trigger:?}");
    }
    assert!(rows.next().is_none());
}

/// Where a trigger leads: with enough stock, and with too little.
fn leads(state: Option<State>, trigger: Trigger) -> Vec<Option<State>> {
    match decide(state, trigger).verdict {
        Verdict::Done(act) => {
            let short = act.when_short().map(|(state, _)| Some(state));
            std::iter::once(Some(act.leads_to())).chain(short).collect()
        }
        Verdict::AlreadyDone | Verdict::Refused => vec![state],
    }
}

#[test]
fn a_reservation_that_was_committed_or_given_back_never_holds_again() {
    for state in State::ALL.into_iter().filter(|state| *state != State::Held) {
        for trigger in Trigger::ALL {
            assert!(!leads(Some(state), trigger).contains(&Some(State::Held)), "{state} {trigger:?}");
        }
    }
    for ended in [State::Released, State::Returned, State::Refused, State::Lapsed] {
        for trigger in Trigger::ALL {
            assert_eq!(leads(Some(ended), trigger), [Some(ended)], "{ended} {trigger:?}");
        }
    }
}

#[test]
fn a_repeated_trigger_changes_nothing_more() {
    for state in states() {
        for trigger in Trigger::ALL {
            for next in leads(state, trigger) {
                let again = leads(next, trigger);
                // Holding again extends; it stays held.
                let settled = if next == Some(State::Held) { vec![next] } else { again.clone() };
                assert!(settled.iter().all(|state| *state == next), "{state:?} {trigger:?}: {again:?}");
            }
        }
    }
}

#[test]
fn every_command_is_answered_and_expiry_is_not() {
    for state in states() {
        for trigger in Trigger::ALL {
            assert_eq!(decide(state, trigger).reply.is_none(), trigger == Trigger::Expire);
        }
    }
}

#[test]
fn names_of_states_modes_and_movements_are_read_back() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    for mode in Mode::ALL {
        assert_eq!(mode.as_str().parse(), Ok(mode));
    }
    for kind in MovementKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert!("HELD".parse::<State>().is_err());
}

fn line(sku: &str, quantity: i64) -> StockLine {
    StockLine { sku: sku.to_owned(), quantity }
}

#[test]
fn lines_of_one_sku_are_summed_and_skus_are_in_order() {
    let lines = [line("b", 2), line("a", 1), line("b", 3)];
    assert_eq!(sum_per_sku(&lines), [line("a", 1), line("b", 5)]);
    assert_eq!(sum_per_sku(&[line("a", i64::MAX), line("a", 1)]), [line("a", i64::MAX)]);
}

#[test]
fn a_negative_line_does_not_make_room_for_another_one() {
    for lines in
        [[line("a", 60), line("a", -20)], [line("a", -20), line("a", 60)], [line("a", 0), line("a", 1)]]
    {
        assert_eq!(sum_per_sku(&lines), [line("a", -1)]);
    }
}

#[test]
fn stock_is_low_once_a_crossing() {
    let item = |available: i64| Item {
        sku: "a".to_owned(),
        on_hand: available + 2,
        reserved: 2,
        low_stock_threshold: 5,
        mode: Mode::ReserveOnOrder,
        version: 1,
    };
    assert!(fell_low(&item(6), &item(5)));
    assert!(fell_low(&item(9), &item(0)));
    assert!(!fell_low(&item(5), &item(4)));
    assert!(!fell_low(&item(5), &item(6)));
    assert!(!fell_low(&item(9), &Item { mode: Mode::None, ..item(0) }));
}
