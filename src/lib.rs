//! airudder-gateway.
