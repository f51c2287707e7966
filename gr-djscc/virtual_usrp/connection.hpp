/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A connection to the air in which virtual radios live (djscc virtual-usrp): lines of text, or packets of samples. */

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace virtual_usrp {

constexpr int DEFAULT_PORT = 30432;

/* What goes before the samples of a packet, and, alone, what is told of a transmission. Little endian, as this machine. */
struct header {
    uint32_t count;      // samples that follow; of an event, its code
    uint32_t flags;      // see below
    int64_t full_seconds; // the device's time of the first sample
    double fraction;
    double rate; // samples per second of the device's time
};
static_assert(sizeof(header) == 32, "the header is 32 bytes on the wire");

enum receive_flag : uint32_t { AFTER_LOSS = 1, LAST = 2, LATE_COMMAND = 4 };
enum send_flag : uint32_t { START_OF_BURST = 1, END_OF_BURST = 2, HAS_TIME = 4 };

class connection
{
public:
    /* Connects, and says what the connection is for. Throws uhd::io_error; for an address off loopback, uhd::value_error. */
    connection(const std::string& address, int port, const std::string& purpose);
    ~connection();
    connection(const connection&)            = delete;
    connection& operator=(const connection&) = delete;

    /* Sends a line and returns the line that answers it. */
    std::string ask(const std::string& line);

    /* True when there is something to read within so many seconds. */
    bool readable(double seconds);
    /* True when something can be written within so many seconds. */
    bool writable(double seconds);

    void write(const void* data, std::size_t size);
    /* Fills ``data``; throws uhd::io_error when the air goes away. */
    void read(void* data, std::size_t size);

private:
    int _socket;
    std::mutex _mutex;
    std::string read_line();
};

/* The values that the air tells of its radio, by name. */
class control
{
public:
    control(const std::string& address, int port) : _connection(address, port, "CONTROL") {}
    std::string get(const std::string& name);
    double number(const std::string& name);
    /* Sets a value and returns the one that was taken; throws uhd::value_error with the air's own words when it is refused. */
    double set(const std::string& name, double value);
    void set(const std::string& name, const std::string& value);

private:
    connection _connection;
};

} // namespace virtual_usrp
