//! Who of those that wait is next, on a clock that stands still until it is told to go.

use super::*;

/// Places that are all taken, by guests as far as they may.
async fn full(places: usize) -> (Arc<Turns>, Vec<Place>) {
    let turns = Turns::new(places);
    let mut taken = Vec::new();
    for _ in 0..for_guests(places) {
        taken.push(turns.take(Asker::Guest).await.expect("a place"));
    }
    (turns, taken)
}

fn asks(turns: &Arc<Turns>, asker: Asker) -> tokio::task::JoinHandle<Result<Place, Error>> {
    let turns = turns.clone();
    tokio::spawn(async move { turns.take(asker).await })
}

/// Lets everybody who was spawned come to where he waits.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_house_finds_a_place_however_many_guests_there_are() {
    let (turns, _taken) = full(8).await;
    let guests: Vec<_> = (0..500).map(|_| asks(&turns, Asker::Guest)).collect();
    settle().await;
    let began = Instant::now();
    for _ in 0..16 {
        turns.take(Asker::House).await.expect("a place for the house");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    guests.into_iter().for_each(|guest| guest.abort());
}

#[tokio::test(start_paused = true)]
async fn of_those_who_wait_for_the_only_place_the_house_is_first() {
    let (turns, taken) = full(1).await;
    let guests: Vec<_> = (0..3).map(|_| asks(&turns, Asker::Guest)).collect();
    settle().await;
    let house = asks(&turns, Asker::House);
    settle().await;
    drop(taken);
    let place = house.await.expect("no panic").expect("the place");
    settle().await;
    assert!(guests.iter().all(|guest| !guest.is_finished()), "nobody passes the house");
    drop(place);
    settle().await;
    assert_eq!(guests.iter().filter(|guest| guest.is_finished()).count(), 1, "one after the other");
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_refused_at_once_where_nobody_has_moved_for_long() {
    let (turns, _taken) = full(4).await;
    let first = asks(&turns, Asker::Guest);
    settle().await;
    tokio::time::advance(GUEST_QUEUE_MAX + Duration::from_millis(1)).await;
    let began = Instant::now();
    for _ in 0..1_000 {
        assert!(matches!(turns.take(Asker::Guest).await, Err(Error::Busy)));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(turns.state().guests.len(), 1, "who is refused leaves nothing behind");
    let told = first.await.expect("no panic");
    assert!(matches!(told, Err(Error::Busy)), "and nobody waits longer than a second");
    assert_eq!(began.elapsed() + GUEST_QUEUE_MAX + Duration::from_millis(1), GUEST_WAIT_MAX);
}

#[tokio::test(start_paused = true)]
async fn the_house_waits_for_long_and_is_told_that_others_are_busy() {
    let (turns, _taken) = full(1).await;
    let began = Instant::now();
    let told = turns.take(Asker::House).await;
    assert!(matches!(told, Err(Error::Busy)), "the server is not away");
    assert_eq!(began.elapsed(), HOUSE_WAIT_MAX);
    assert!(
        turns.state().house.iter().all(|waiter| waiter.place.is_closed()),
        "nobody who has gone gets a place"
    );
}

#[tokio::test(start_paused = true)]
async fn as_many_guests_wait_as_can_be_served_in_time() {
    let turns = Turns::new(5);
    // Four places, 100 ms each: in half a second twenty are served.
    turns.state().held = Duration::from_millis(100);
    let mut places = Vec::new();
    for _ in 0..4 {
        places.push(turns.take(Asker::Guest).await.expect("a place"));
    }
    let waiting: Vec<_> = (0..100).map(|_| asks(&turns, Asker::Guest)).collect();
    settle().await;
    let refused = waiting.iter().filter(|guest| guest.is_finished()).count();
    assert_eq!(refused, 100 - 21, "those who would wait for longer are told so at once");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn quick_questions_wait_in_any_number() {
    let turns = Turns::new(3);
    turns.state().held = Duration::from_micros(500);
    let mut guests = Vec::new();
    for _ in 0..1_000 {
        guests.push(asks(&turns, Asker::Guest));
    }
    for guest in guests {
        guest.await.expect("no panic").expect("a place in time");
    }
}

#[tokio::test(start_paused = true)]
async fn places_of_those_who_went_are_given_on() {
    let (turns, taken) = full(2).await;
    let guests: Vec<_> = (0..4).map(|_| asks(&turns, Asker::Guest)).collect();
    settle().await;
    guests[..3].iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    drop(taken);
    let last = guests.into_iter().next_back().expect("the fourth");
    drop(last.await.expect("no panic").expect("the place"));
    let state = turns.state();
    assert_eq!((state.taken, state.guests_in, state.guests.len(), state.house.len()), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_handed_to_one_who_goes_at_that_moment_is_not_lost() {
    let (turns, taken) = full(1).await;
    let mut guest = Box::pin(turns.take(Asker::Guest));
    assert!(is_waiting(&mut guest).await);
    drop(taken);
    // It has the place, and never looks.
    drop(guest);
    turns.take(Asker::House).await.expect("the place");
    assert_eq!(turns.state().taken, 0);
}

/// Whether it waits.
async fn is_waiting<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}
