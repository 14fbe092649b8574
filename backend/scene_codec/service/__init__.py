"""What the Blender add-on talks to: the wire protocol, the job queue and the server behind it."""
