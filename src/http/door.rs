//! Who may connect: so many at a time, so many from one address, and over TLS where that is configured.
//!
//! What is too much on a public listener is closed at once, so that it costs a file descriptor for a moment and no
//! more: the newest of an address, and of all the one that has asked for nothing for longest. It counts in memory that the
//! connections themselves bound, and never reads a request.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use pingora_timeout::timeout;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::line::Line;
use super::newcomers::{Newcomer, Newcomers};
use super::tls::Tls;

/// How long it may take until a connection that was told to go is gone. Meanwhile nobody else is let in.
const TO_LEAVE: Duration = Duration::from_secs(1);

/// The rules of a public listener.
pub(crate) struct Public {
    /// `None`: plain HTTP.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Connections at the same time from one address; IPv6 is counted by /64, which one customer has for himself.
    pub(crate) per_address: usize,
    /// Peers that speak for many, so that the bound for one address is not theirs.
    pub(crate) proxies: Vec<IpNet>,
}

/// The way in of one listener.
pub(super) struct Door {
    slots: Arc<Semaphore>,
    public: Option<Public>,
    seats: Arc<Seats>,
    newcomers: Arc<Newcomers>,
}

/// A connection that has no place yet.
pub(super) struct Caller {
    stream: TcpStream,
    peer: IpAddr,
    /// Where it was waited for before the connection was taken.
    slot: Option<OwnedSemaphorePermit>,
}

/// A connection that may stay, and what it takes up while it does.
pub(super) struct Visitor {
    stream: TcpStream,
    /// Where it comes from.
    pub(super) peer: IpAddr,
    place: Place,
}

/// What a connection takes up; dropping it gives it back.
pub(super) struct Place {
    _slot: OwnedSemaphorePermit,
    _seat: Option<Seat>,
    /// On a public listener, until it is somebody else's to keep.
    pub(super) newcomer: Option<Newcomer>,
}

impl Door {
    /// `connections` at the same time.
    pub(super) fn new(connections: usize, public: Option<Public>) -> Self {
        Self { slots: Arc::new(Semaphore::new(connections)), public, seats: Arc::default(), newcomers: Arc::default() }
    }

    /// The next connection. Where nobody is a stranger, one beyond the bound waits in the kernel's queue. Giving up this
    /// wait loses no connection: it waits for nothing once it has one.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) async fn accept(&self, socket: &tokio::net::TcpListener) -> io::Result<Caller> {
        let slot = match &self.public {
            Some(_) => None,
            None => Some(self.slots.clone().acquire_owned().await.map_err(io::Error::other)?),
        };
        let (stream, peer) = socket.accept().await?;
        Ok(Caller { stream, peer: peer.ip().to_canonical(), slot })
    }

    /// Gives it a place; `None` when it was one too many and is closed. It has to be waited for to the end, or the connection
    /// is cut.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) async fn seat(&self, caller: Caller) -> io::Result<Option<Visitor>> {
        let Caller { stream, peer, slot } = caller;
        let Some(public) = &self.public else {
            let slot = match slot {
                Some(slot) => slot,
                None => self.slots.clone().acquire_owned().await.map_err(io::Error::other)?,
            };
            stream.set_nodelay(true)?;
            return Ok(Some(Visitor { stream, peer, place: Place { _slot: slot, _seat: None, newcomer: None } }));
        };
        let seat = if public.proxies.iter().any(|network| network.contains(&peer)) {
            None
        } else {
            match self.seats.take(peer, public.per_address) {
                Some(seat) => Some(seat),
                None => return Ok(None),
            }
        };
        // After its own share: who has used that up does not drive others out.
        let Some(slot) = self.slot().await else { return Ok(None) };
        stream.set_nodelay(true)?;
        let newcomer = Some(self.newcomers.add());
        Ok(Some(Visitor { stream, peer, place: Place { _slot: slot, _seat: seat, newcomer } }))
    }

    /// Room for one more, if need be that of the connection that has asked for nothing for longest.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        if !self.newcomers.crowd_out() {
            return None;
        }
        timeout(TO_LEAVE, self.slots.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Shakes hands where TLS is asked for; `None` when that failed or took longer than `allowed`.
    pub(super) async fn open(&self, visitor: Visitor, allowed: Duration) -> Option<(Line, Place)> {
        let Visitor { stream, mut place, .. } = visitor;
        match self.public.as_ref().and_then(|public| public.tls.as_ref()) {
            None => Some((Line::Tcp(stream), place)),
            // A failure is a stranger's and says nothing that an operator could mend, so it is not logged.
            Some(tls) => {
                // In a box, so that a connection holds no room for it later.
                let shaken = Box::pin(timeout(allowed, tls.shake_hands(stream.into())));
                let stream = match &mut place.newcomer {
                    None => shaken.await,
                    Some(newcomer) => tokio::select! {
                        shaken = shaken => shaken,
                        () = newcomer.crowded_out() => return None,
                    },
                };
                stream.ok()?.map(|stream| (Line::Other(stream), place))
            }
        }
    }
}

impl Caller {
    /// A connection from the process before this one; `None` when its peer has gone meanwhile.
    pub(super) fn arrived(stream: std::net::TcpStream) -> Option<io::Result<Self>> {
        let peer = stream.peer_addr().ok()?.ip().to_canonical();
        Some(TcpStream::from_std(stream).map(|stream| Self { stream, peer, slot: None }))
    }
}

impl Visitor {
    /// Without anything around its bytes.
    pub(super) fn plain(self) -> (Line, Place) {
        (Line::Tcp(self.stream), self.place)
    }
}

/// Connections by address. It never has more entries than there are connections.
#[derive(Default)]
struct Seats(Mutex<HashMap<IpAddr, usize>>);

/// One of an address's connections.
struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Seats {
    /// `None` when the address has `most` already.
    fn take(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Seat> {
        let address = counted_as(peer);
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(address).or_insert(0);
        if *taken >= most {
            return None;
        }
        *taken += 1;
        drop(seats);
        Some(Seat { seats: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.address);
            }
        }
    }
}

fn counted_as(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let seats = Arc::new(Seats::default());
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let first = seats.take(address("192.0.2.1"), 2).expect("a seat");
        let _second = seats.take(address("192.0.2.1"), 2).expect("a seat");
        assert!(seats.take(address("192.0.2.1"), 2).is_none());
        assert!(seats.take(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(seats.take(address("192.0.2.1"), 2).is_some());
        assert_eq!(seats.0.lock().expect("no panic").len(), 1, "an address without connections is forgotten");
    }

    #[tokio::test]
    async fn a_connection_is_taken_whole_before_room_is_made_for_it() {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let connect = async || TcpStream::connect(address).await.expect("it listens");
        let door = Door::new(1, Some(Public { tls: None, per_address: 9, proxies: Vec::new() }));
        let _one = connect().await;
        let first = door.accept(&socket).await.expect("it listens");
        let first = door.seat(first).await.expect("no trouble").expect("there is room");
        let _other = connect().await;
        // The first one was not told to go before the second was in hand, and is in no hurry.
        let second = door.accept(&socket).await.expect("it listens");
        let mut seating = std::pin::pin!(door.seat(second));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(seating.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(seating.await.expect("no trouble").is_some());
    }

    #[test]
    fn neighbours_in_one_network_of_ipv6_are_one_address() {
        let seats = Arc::new(Seats::default());
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let _one = seats.take(address("2001:db8:1:2::1"), 1).expect("a seat");
        assert!(seats.take(address("2001:db8:1:2:ffff::9"), 1).is_none());
        assert!(seats.take(address("2001:db8:1:3::1"), 1).is_some());
    }
}
