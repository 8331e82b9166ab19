namespace go echo

struct Request {
    1: string message
}

struct Response {
    1: string message
}

service Echo {
    // Echo returns the message.
    Response Echo(1: Request req)
    // Boom panics.
    Response Boom(1: Request req)
    // Hold returns the message when the test says so.
    Response Hold(1: Request req)
}
