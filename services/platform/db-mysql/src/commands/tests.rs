//! The workers where there is no server.

use db::Connection;

use super::*;
use crate::address::Address;
use crate::connect::Flavour;

/// Tells when it is let go of.
struct Told(std::sync::mpsc::Sender<()>);

impl Job for Told {
    fn run(&mut self, _: &mut dyn Connection) -> Verdict {
        Verdict::Keep
    }

    fn finish(self: Box<Self>, _: Result<(), Error>) {}
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_panic_on_the_way_to_the_server_leaves_no_worker_counted_that_is_not_there() {
    let address = Address::parse("mysql://shop@127.0.0.1:1/rtc?pool=2").unwrap();
    let password: crate::Password = Arc::new(|| panic!("a defect"));
    let commands = Commands::new(Arc::new(Connector::new(address, Flavour::MySql, Some(password))));
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..3 {
        commands.take(Box::new(Told(tell.clone())));
        told.recv_timeout(Duration::from_secs(20)).expect("an end of it");
    }
    commands.close();
    let queue = lock(&commands.queue);
    assert_eq!((queue.workers, queue.working, queue.patient), (0, 0, 0));
}

#[test]
fn those_put_aside_leave_half_of_the_workers_to_the_others() {
    let (tell, _told) = std::sync::mpsc::channel();
    let aside = || Waiting { job: Box::new(Told(tell.clone())) as Box<dyn Job>, since: Instant::now() };
    let mut queue = Queue { aside: (0..9).map(|_| aside()).collect(), ..Queue::default() };
    assert!(queue.take_aside(8, false).is_none(), "others go first");
    let taken = (0..9).filter(|_| queue.take_aside(8, true).is_some()).count();
    assert_eq!((taken, queue.aside.len()), (4, 5));
    // One connection is for all of them, in turn.
    let mut queue = Queue { aside: [aside()].into(), ..Queue::default() };
    assert!(queue.take_aside(1, true).is_some());
}
