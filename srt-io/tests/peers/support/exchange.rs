//! Numbered messages to or from srt-live-transmit, with every way to meet it.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use thalweg_badlink::{Link, LinkBuilder};
use thalweg_runtime as rt;
use thalweg_srt_io::{FinishError, Listener, Options, Socket};

use super::tool::{Tool, free_addr};
use super::{Outcome, message, recv};

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meeting {
    /// We listen.
    WeListen,
    /// The tool listens.
    ToolListens,
    /// Both call at the same time.
    Rendezvous,
}

/// Meetings of both roles.
pub(crate) const ROLES: [Meeting; 2] = [Meeting::WeListen, Meeting::ToolListens];

/// How to meet.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) meeting: Meeting,
    /// Ours, as text: `127.0.0.1` or `[::1]`.
    pub(crate) ip: &'static str,
    pub(crate) options: Options,
    /// More parameters of the tool's URL, each with `&` in front.
    pub(crate) params: String,
    /// What the caller, whoever it is, has to go through.
    pub(crate) link: Option<LinkBuilder>,
}

impl Terms {
    pub(crate) fn new(meeting: Meeting) -> Self {
        let params = format!("&latency={}", super::LATENCY.as_millis());
        Self { meeting, ip: "127.0.0.1", options: super::live(), params, link: None }
    }

    /// The address to call instead of `addr`.
    fn way_to(&self, addr: SocketAddr) -> io::Result<(SocketAddr, Option<Link>)> {
        let link = self.link.clone().map(|link| link.start(addr)).transpose()?;
        Ok((link.as_ref().map_or(addr, Link::addr), link))
    }
}

/// Which way messages go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    ToTool,
    FromTool,
}

/// A tool and the connection to it.
pub(crate) struct Met {
    pub(crate) tool: Tool,
    pub(crate) socket: Socket,
    link: Option<Link>,
}

/// Has a tool connected to us.
pub(crate) fn meet(way: Way, terms: &Terms) -> Outcome<Met> {
    match terms.meeting {
        Meeting::WeListen => we_listen(way, terms),
        Meeting::ToolListens => tool_listens(way, terms),
        Meeting::Rendezvous => rendezvous(way, terms),
    }
}

fn we_listen(way: Way, terms: &Terms) -> Outcome<Met> {
    let listener = Listener::bind(format!("{}:0", terms.ip).as_str(), &terms.options)?;
    let (addr, link) = terms.way_to(listener.local_addr())?;
    let tool = transmit(way, &format!("srt://{addr}?mode=caller{}", terms.params))?;
    let (socket, _peer) = listener.accept()?;
    Ok(Met { tool, socket, link })
}

fn tool_listens(way: Way, terms: &Terms) -> Outcome<Met> {
    let addr = free_addr(terms.ip)?;
    let tool = transmit(way, &format!("srt://{addr}?mode=listener{}", terms.params))?;
    let (addr, link) = terms.way_to(addr)?;
    let socket = Socket::connect(addr, &terms.options)?;
    Ok(Met { tool, socket, link })
}

fn rendezvous(way: Way, terms: &Terms) -> Outcome<Met> {
    let (ours, theirs) = (free_addr(terms.ip)?, free_addr(terms.ip)?);
    let (port, params) = (theirs.port(), &terms.params);
    let tool = transmit(way, &format!("srt://{ours}?mode=rendezvous&port={port}{params}"))?;
    let socket = Socket::rendezvous(ours, theirs, &terms.options)?;
    Ok(Met { tool, socket, link: None })
}

/// Starts srt-live-transmit between `url` and its standard input or output.
pub(crate) fn transmit(way: Way, url: &str) -> Outcome<Tool> {
    let (from, to) = match way {
        Way::ToTool => (url, CONSOLE),
        Way::FromTool => (CONSOLE, url),
    };
    // It must not come back when we have left.
    let args = ["-v", "-autoreconnect:no", "-chunk:1316", from, to];
    Ok(Tool::start("srt-live-transmit", &args)?)
}

/// Meets a tool and has it send or receive [`MESSAGES`]; all must arrive, in order and whole.
///
/// More come behind them: the peer learns of a loss by what follows, and libsrt never sends a message again
/// whose loss it was not told of (`checkRexmitTimer`, when the peer reports losses periodically).
pub(crate) fn exchange(way: Way, terms: &Terms) -> Outcome {
    let Met { tool, socket, link } = meet(way, terms)?;
    match way {
        Way::FromTool => receive_all(tool, socket)?,
        Way::ToTool => send_all(tool, &socket, link.is_some())?,
    }
    let lost = link.as_ref().map(|link| link.stats().up.lost + link.stats().down.lost);
    assert_ne!(lost, Some(0), "the link lost nothing");
    Ok(())
}

fn receive_all(mut tool: Tool, socket: Socket) -> Outcome {
    // It drops what it reads before it knows that it is connected.
    tool.wait_for("connect")?;
    let mut input = tool.input.take().ok_or("the tool has no input")?;
    let all_arrived = Rc::new(Cell::new(false));
    let feeder = {
        let all_arrived = Rc::clone(&all_arrived);
        rt::spawn(move || {
            (0..).take_while(|_| !all_arrived.get()).try_for_each(|number| {
                rt::sleep(SPACING)?;
                input.write_all(&message::encode(number))
            })
        })
    };
    for number in 0..MESSAGES {
        assert_eq!(message::number(&recv(&socket)?), Some(number));
    }
    all_arrived.set(true);
    feeder.join().map_err(|error| error.to_string())??;
    // It does not mind the end of its input, but it ends with the connection.
    socket.close();
    let ended = tool.finish()?;
    assert!(ended.status.success(), "{}: {}", ended.status, ended.said);
    Ok(())
}

fn send_all(tool: Tool, socket: &Socket, bad_link: bool) -> Outcome {
    for number in 0..MESSAGES + BEHIND {
        rt::sleep(SPACING)?;
        socket.send(&message::encode(number))?;
    }
    match socket.finish(rt::now() + FINISH_LIMIT) {
        Ok(()) => {}
        // The very last may be lost, and nothing comes behind it.
        Err(FinishError::Unsent { .. }) if bad_link => {}
        Err(error) => return Err(error.into()),
    }
    let ended = tool.finish()?;
    let arrived = ended.output.chunks(message::BYTES).map(message::number);
    let whole = (0..MESSAGES).zip(arrived).take_while(|&(sent, arrived)| arrived == Some(sent));
    assert_eq!(whole.count(), MESSAGES as usize, "{} bytes: {}", ended.output.len(), ended.said);
    Ok(())
}

const CONSOLE: &str = "file://con";
const MESSAGES: u32 = 300;
/// Enough that not all of them are lost.
const BEHIND: u32 = 50;
/// Some 5 Mbit/s. The tool reads in steps of up to 10 ms.
const SPACING: Duration = Duration::from_millis(2);
const FINISH_LIMIT: Duration = Duration::from_secs(5);
