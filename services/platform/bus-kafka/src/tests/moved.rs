//! A broker that is met at another port than its own.

/// Writes the port `to` wherever an answer says that the broker is at `from`: that is where clients go next.
pub fn move_address(frame: &mut [u8], from: u16, to: u16) {
    let place = |port: u16| [b"127.0.0.1".as_slice(), &u32::from(port).to_be_bytes()].concat();
    let (from, to) = (place(from), place(to));
    let mut at = 0;
    while let Some(found) = frame[at..].windows(from.len()).position(|window| window == from) {
        at += found;
        frame[at..at + to.len()].copy_from_slice(&to);
    }
}
