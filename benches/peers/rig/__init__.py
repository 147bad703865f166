"""The rig behind `benches/peers/run`: starts the peers and the platform on loopback, checks them, times them."""
