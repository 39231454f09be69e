"""Engine.IO on Trio: sessions that live on long polls or WebSockets, and change over while they run."""
