// Command probe does nothing: that it can be built and started with -race
// shows that the race detector works on this machine.
package main

func main() {}
