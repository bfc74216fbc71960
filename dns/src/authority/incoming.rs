//! Zones from other servers: AXFR (RFC 5936) and the SOA query before it, over TCP.

use std::{io, net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    ZoneData,
    build::{Builder, LineError, ZoneError},
    catalog::CatalogError,
};

/// How long a connection may take to be made, and each message to come.
const CONNECT: Duration = Duration::from_secs(5);
const MESSAGE: Duration = Duration::from_secs(15);

/// Why there is nothing from a primary.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The connection.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// Nothing came for too long.
    #[error("it does not answer")]
    Silent,
    /// A message that can't be decoded, or is no reply to what was asked.
    #[error("its reply can't be read")]
    Message,
    /// It says no.
    #[error("it answers {0}")]
    Code(ResponseCode),
    /// The transfer does not begin with the zone's SOA record.
    #[error("its reply does not begin with the zone's SOA record")]
    NoSoa,
    /// More behind the SOA record that ends the transfer.
    #[error("there is more behind the end of the transfer")]
    Surplus,
    /// A record that a zone can't have.
    #[error("a record of the zone: {0}")]
    Record(#[from] LineError),
    /// The zone as a whole.
    #[error("{0}")]
    Zone(#[from] ZoneError),
    /// The zone as a catalog.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
}

/// A transfer as it comes in, message by message.
pub struct Incoming {
    id: u16,
    builder: Builder,
    began: bool,
    ended: bool,
}

impl Incoming {
    /// A transfer of `zone` that was asked for under `id`.
    pub fn new(zone: Name, id: u16) -> Self {
        Incoming { id, builder: Builder::new(zone), began: false, ended: false }
    }

    /// Takes the next message; tells whether it was the last.
    ///
    /// # Errors
    /// What is wrong with it. The transfer is over then.
    pub fn take(&mut self, message: &[u8]) -> Result<bool, IncomingError> {
        let message = reply(message, self.id)?;
        for record in &message.answers {
            let is_soa = record.record_type() == RecordType::SOA;
            let own = is_soa && record.name == *self.builder.origin();
            match (self.began, self.ended) {
                (_, true) => return Err(IncomingError::Surplus),
                (false, _) if !own => return Err(IncomingError::NoSoa),
                (false, _) => self.began = true,
                (true, _) => self.ended = own,
            }
            self.builder.add(record)?;
        }
        if message.answers.is_empty() {
            return Err(IncomingError::NoSoa);
        }
        Ok(self.ended)
    }

    /// The zone, once all of it has come.
    ///
    /// # Errors
    /// If something is missing.
    pub fn finish(self) -> Result<ZoneData, IncomingError> {
        if self.ended { Ok(self.builder.finish()?) } else { Err(IncomingError::NoSoa) }
    }
}

/// The whole zone from `primary`.
///
/// # Errors
/// Whatever keeps it from coming.
pub async fn transfer(zone: &Name, primary: SocketAddr) -> Result<ZoneData, IncomingError> {
    let id = rand::random();
    let mut stream = ask(zone, RecordType::AXFR, primary, id).await?;
    let mut incoming = Incoming::new(zone.clone(), id);
    while !incoming.take(&framed(&mut stream).await?)? {}
    incoming.finish()
}

/// The serial that `primary` has.
///
/// # Errors
/// Whatever keeps it from saying so.
pub async fn serial(zone: &Name, primary: SocketAddr) -> Result<u32, IncomingError> {
    let id = rand::random();
    let mut stream = ask(zone, RecordType::SOA, primary, id).await?;
    let message = reply(&framed(&mut stream).await?, id)?;
    let mut records = message.answers.iter().filter(|record| record.name == *zone);
    let serial = records.find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    serial.ok_or(IncomingError::NoSoa)
}

/// Whether `new` comes after `old` (RFC 1982 §3.2).
pub fn is_newer(new: u32, old: u32) -> bool {
    new != old && new.wrapping_sub(old) < 1 << 31
}

async fn ask(
    zone: &Name,
    rtype: RecordType,
    primary: SocketAddr,
    id: u16,
) -> Result<TcpStream, IncomingError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(zone.clone(), rtype));
    let bytes = message.to_vec().map_err(|_| IncomingError::Message)?;
    let connected = timeout(CONNECT, TcpStream::connect(primary)).await;
    let mut stream = connected.map_err(|_| IncomingError::Silent)??;
    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed).await?;
    Ok(stream)
}

async fn framed(stream: &mut TcpStream) -> Result<Vec<u8>, IncomingError> {
    let read = async {
        let len = stream.read_u16().await?;
        let mut bytes = vec![0; usize::from(len)];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    };
    timeout(MESSAGE, read).await.map_err(|_| IncomingError::Silent)?
}

fn reply(bytes: &[u8], id: u16) -> Result<Message, IncomingError> {
    let message = Message::from_vec(bytes).map_err(|_| IncomingError::Message)?;
    let metadata = message.metadata;
    if metadata.id != id || metadata.message_type != MessageType::Response || metadata.truncation {
        return Err(IncomingError::Message);
    }
    match metadata.response_code {
        ResponseCode::NoError => Ok(message),
        code => Err(IncomingError::Code(code)),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{
        Record,
        rdata::{A, SOA},
    };

    use super::*;

    fn soa(serial: u32) -> Record {
        let zone = Name::from_ascii("a.test.").unwrap();
        let data = SOA::new(zone.clone(), zone.clone(), serial, 1, 2, 3, 4);
        Record::from_rdata(zone, 60, RData::SOA(data))
    }

    fn a(owner: &str) -> Record {
        Record::from_rdata(Name::from_ascii(owner).unwrap(), 60, RData::A(A([10, 0, 0, 1].into())))
    }

    fn message(id: u16, code: ResponseCode, answers: &[Record]) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.answers = answers.to_vec();
        message.to_vec().unwrap()
    }

    fn incoming() -> Incoming {
        Incoming::new(Name::from_ascii("a.test.").unwrap(), 7)
    }

    #[test]
    fn a_zone_comes_in_any_number_of_messages() {
        let ok = |answers: &[Record]| message(7, ResponseCode::NoError, answers);
        let mut one = incoming();
        assert!(one.take(&ok(&[soa(1), a("b.a.test."), a("out.test."), soa(1)])).unwrap());
        assert_eq!(one.finish().unwrap().len(), 2);
        let mut many = incoming();
        assert!(!many.take(&ok(&[soa(1)])).unwrap());
        assert!(!many.take(&ok(&[a("b.a.test.")])).unwrap());
        assert!(many.take(&ok(&[a("c.a.test."), soa(1)])).unwrap());
        assert_eq!(many.finish().unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_transfer_is_told() {
        let ok = ResponseCode::NoError;
        for wrong in [
            message(8, ok, &[soa(1), soa(1)]),
            message(7, ResponseCode::Refused, &[]),
            message(7, ok, &[]),
            message(7, ok, &[a("a.test."), soa(1)]),
            message(7, ok, &[soa(1), soa(2)]),
            message(7, ok, &[soa(1), soa(1), a("b.a.test.")]),
            b"nonsense".to_vec(),
        ] {
            assert!(incoming().take(&wrong).is_err());
        }
        let mut cut = incoming();
        assert!(!cut.take(&message(7, ok, &[soa(1), a("b.a.test.")])).unwrap());
        assert!(cut.finish().is_err());
    }

    #[test]
    fn serials_go_round() {
        assert!(is_newer(2, 1) && is_newer(0, u32::MAX) && is_newer(1 << 31, 1));
        assert!(!is_newer(1, 1) && !is_newer(1, 2) && !is_newer(u32::MAX, 0));
    }
}
