//! What egress promises, tried over real sockets on loopback.

mod address;
mod answers;
mod api;
mod documents;
mod gate;
mod name_server;
mod names;
mod reuse;
mod scripted;
mod support;
mod tls;
mod txt;
