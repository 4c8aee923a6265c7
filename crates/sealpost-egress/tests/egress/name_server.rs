//! A name server on loopback; also for tests of crates that ask through this one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

/// A name server with a table, counting questions.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<AtomicUsize>,
    records: Records,
    _server: hickory_server::Server<Table>,
}

type Records = Arc<Mutex<HashMap<Name, Vec<Record>>>>;

struct Table {
    records: Records,
    asked: Arc<AtomicUsize>,
}

impl Names {
    /// Rows are a name and what it leads to: addresses, `alias:NAME`, or `txt:TEXT`, in which `|` stands between the
    /// strings of one record.
    pub(crate) async fn serving(rows: &[(&str, &[&str])]) -> Self {
        let records = Records::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (socket, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port may be taken for UDP.
            if let Ok(socket) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (socket, tcp);
            }
        };
        let address = socket.local_addr().unwrap();
        let mut server =
            hickory_server::Server::new(Table { records: records.clone(), asked: asked.clone() });
        server.register_socket(socket);
        server.register_listener(tcp, Duration::from_secs(5), 16);
        let names = Self { address, asked, records, _server: server };
        for (name, values) in rows {
            names.set(name, values);
        }
        names
    }

    /// Replaces what a name leads to.
    pub(crate) fn set(&self, name: &str, values: &[&str]) {
        let name = Name::from_ascii(format!("{name}.")).unwrap();
        let set = values.iter().map(|value| Record::from_rdata(name.clone(), 60, rdata(value))).collect();
        self.records.lock().unwrap().insert(name, set);
    }
}

fn rdata(value: &str) -> RData {
    if let Some(target) = value.strip_prefix("alias:") {
        return RData::CNAME(CNAME(Name::from_ascii(format!("{target}.")).unwrap()));
    }
    if let Some(text) = value.strip_prefix("txt:") {
        return RData::TXT(TXT::new(text.split('|').map(str::to_owned).collect()));
    }
    match value.parse().unwrap() {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

#[async_trait]
impl RequestHandler for Table {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &hickory_server::server::Request,
        mut handle: R,
    ) -> ResponseInfo {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let query = &request.queries.queries()[0];
        let mut name = Name::from(query.name().clone());
        let mut answers = Vec::new();
        let records = self.records.lock().unwrap().clone();
        let known = records.contains_key(&name);
        // Follows aliases as a recursive server does; a loop ends after twenty.
        for _ in 0..20 {
            let set = records.get(&name).cloned().unwrap_or_default();
            let alias = set.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            });
            let wanted = |record: &Record| {
                record.record_type() == query.query_type() || record.record_type() == RecordType::CNAME
            };
            answers.extend(set.into_iter().filter(wanted));
            match alias {
                Some(target) => name = target,
                None => break,
            }
        }
        let mut metadata = Metadata::response_from_request(&request.metadata);
        if !known {
            metadata.response_code = ResponseCode::NXDomain;
        }
        let none: [Record; 0] = [];
        let response = MessageResponseBuilder::from_message_request(request)
            .build(metadata, &answers, &none, &none, &none);
        handle.send_response(response).await.unwrap()
    }
}
