//! Connections that send without reading, and HTTP/2 connections that keep streams open.
