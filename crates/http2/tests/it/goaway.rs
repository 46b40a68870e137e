//! The orderly end of a connection, and the end of a silent one.

use std::time::Duration;

use bytes::Buf;

use crate::wire::*;

fn last_of(frame: &Frame) -> u32 {
    frame.payload.clone().get_u32()
}

#[test]
fn shutdown_waits_for_what_is_on_its_way() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.events().unwrap();
    wire.connection.shut_down(wire.now);
    let frames = wire.frames();
    assert_eq!((frames[0].kind, last_of(&frames[0]), frames[1].kind), (GOAWAY, 0x7fff_ffff, PING));
    // A request that crossed the first GOAWAY is served.
    wire.request(3);
    wire.frame(PING, ACK, 0, &frames[1].payload);
    wire.request(5);
    assert_eq!(wire.events().unwrap().len(), 1);
    let frames = wire.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, last_of(&frames[0])), (GOAWAY, 3));
    assert!(!wire.connection.is_done());
    for stream in [1, 3] {
        wire.connection.send_end(stream, &[0x88]);
    }
    assert!(wire.connection.is_done());
}

#[test]
fn client_that_does_not_answer_holds_up_no_shutdown() {
    let mut wire = Wire::open();
    wire.connection.shut_down(wire.now);
    wire.connection.shut_down(wire.now);
    assert_eq!(wire.frames_of(GOAWAY).len(), 1);
    assert_eq!(wire.connection.deadline(), wire.now + Duration::from_secs(5));
    assert!(wire.connection.tick(wire.now + Duration::from_secs(4)));
    assert!(!wire.connection.is_done());
    assert!(wire.connection.tick(wire.now + Duration::from_secs(5)));
    assert!(wire.connection.is_done());
    assert_eq!(wire.frames_of(GOAWAY).len(), 1);
}

#[test]
fn silent_client_is_asked_and_given_up() {
    let mut wire = Wire::open();
    let asked = wire.connection.deadline();
    assert_eq!(asked, wire.now + Duration::from_secs(7200));
    assert!(wire.connection.tick(asked));
    assert_eq!(wire.frames_of(PING).len(), 1);
    assert_eq!(wire.connection.deadline(), asked + Duration::from_secs(20));
    assert!(!wire.connection.tick(asked + Duration::from_secs(20)));
}

#[test]
fn client_that_answers_is_kept() {
    let mut wire = Wire::open();
    let asked = wire.connection.deadline();
    wire.connection.tick(asked);
    wire.now = asked + Duration::from_secs(1);
    wire.frame(PING, ACK, 0, &[0; 8]);
    wire.events().unwrap();
    assert!(wire.connection.tick(asked + Duration::from_secs(20)));
}
