"""What the `learn2talk` command can do, a module for each kind of command."""
