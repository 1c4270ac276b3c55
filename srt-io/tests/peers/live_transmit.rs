//! srt-live-transmit as it comes: both directions, every way to meet, IPv6, stream ids.

use super::support::exchange::{Meeting, ROLES, Terms, Way, exchange, meet};
use super::support::run;

#[test]
fn all_messages_arrive_from_it_in_both_roles() {
    run(|| ROLES.into_iter().try_for_each(|role| exchange(Way::FromTool, &Terms::new(role))));
}

#[test]
fn all_messages_arrive_at_it_in_both_roles() {
    run(|| ROLES.into_iter().try_for_each(|role| exchange(Way::ToTool, &Terms::new(role))));
}

#[test]
fn a_rendezvous_serves_both_directions() {
    run(|| {
        let terms = Terms::new(Meeting::Rendezvous);
        exchange(Way::FromTool, &terms)?;
        exchange(Way::ToTool, &terms)
    });
}

#[test]
fn ipv6_serves_both_roles_and_directions() {
    run(|| {
        for role in ROLES {
            let terms = Terms { ip: "[::1]", ..Terms::new(role) };
            exchange(Way::FromTool, &terms)?;
            exchange(Way::ToTool, &terms)?;
        }
        Ok(())
    });
}

#[test]
fn its_stream_id_reaches_the_listener() {
    run(|| {
        // It takes all behind the first `=` as it is, and decodes nothing.
        let params = "&streamid=#!::r=live/cam,m=publish".to_owned();
        let terms = Terms { params, ..Terms::new(Meeting::WeListen) };
        let met = meet(Way::FromTool, &terms)?;
        assert_eq!(met.socket.stream_id_text(), "#!::r=live/cam,m=publish");
        Ok(())
    });
}
