namespace go stream

struct Request {
    1: string message
}

struct Response {
    1: string message
}

service Stream {
    // Echo returns each message.
    Response Echo(1: Request req) (streaming.mode="bidirectional")
    // Join returns all messages as one.
    Response Join(1: Request req) (streaming.mode="client")
    // Repeat returns the message as often as the number before its first colon says.
    Response Repeat(1: Request req) (streaming.mode="server")
    // Boom panics after its first message.
    Response Boom(1: Request req) (streaming.mode="bidirectional")
    // Hold takes one message and then waits for the test, or for the end of the stream.
    Response Hold(1: Request req) (streaming.mode="bidirectional")
}
