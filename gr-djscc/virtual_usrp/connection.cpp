/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "connection.hpp"

#include <uhd/exception.hpp>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace virtual_usrp {

namespace {
constexpr int BUFFER_BYTES    = 1 << 18; // what a link would hold; more would hide overruns
constexpr double ANSWER_LIMIT = 5.0;     // seconds

bool ready(int socket, short events, double seconds)
{
    pollfd waiting{socket, events, 0};
    return ::poll(&waiting, 1, static_cast<int>(std::ceil(seconds * 1e3))) > 0;
}
} // namespace

connection::connection(const std::string& address, int port, const std::string& purpose)
{
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port   = htons(static_cast<uint16_t>(port));
    if (::inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1
        || (ntohl(where.sin_addr.s_addr) >> 24) != 127) {
        throw uhd::value_error("virtual USRP: addr=" + address + " is not on loopback; give 127.0.0.1, 127.0.0.2, ...");
    }
    _socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1, bytes = BUFFER_BYTES;
    ::setsockopt(_socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    ::setsockopt(_socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    ::setsockopt(_socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (::connect(_socket, reinterpret_cast<sockaddr*>(&where), sizeof(where)) != 0) {
        const std::string reason = std::strerror(errno);
        ::close(_socket);
        throw uhd::io_error("virtual USRP: nothing answers at " + address + ":" + std::to_string(port) + " (" + reason
                            + "); start it with: djscc virtual-usrp");
    }
    const std::string line = purpose + "\n";
    write(line.data(), line.size());
}

connection::~connection()
{
    ::close(_socket);
}

std::string connection::ask(const std::string& line)
{
    std::lock_guard<std::mutex> lock(_mutex);
    const std::string whole = line + "\n";
    write(whole.data(), whole.size());
    return read_line();
}

std::string connection::read_line()
{
    std::string line;
    char next = 0;
    while (true) {
        if (!readable(ANSWER_LIMIT)) {
            throw uhd::io_error("virtual USRP: no answer; is djscc virtual-usrp still running?");
        }
        read(&next, 1);
        if (next == '\n') {
            return line;
        }
        line += next;
    }
}

bool connection::readable(double seconds)
{
    return ready(_socket, POLLIN, seconds);
}

bool connection::writable(double seconds)
{
    return ready(_socket, POLLOUT, seconds);
}

void connection::write(const void* data, std::size_t size)
{
    auto* at = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t written = ::send(_socket, at, size, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            throw uhd::io_error("virtual USRP: the air is gone; is djscc virtual-usrp still running?");
        }
        at += written;
        size -= static_cast<std::size_t>(written);
    }
}

void connection::read(void* data, std::size_t size)
{
    auto* at = static_cast<char*>(data);
    while (size > 0) {
        const ssize_t got = ::recv(_socket, at, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            throw uhd::io_error("virtual USRP: the air is gone; is djscc virtual-usrp still running?");
        }
        at += got;
        size -= static_cast<std::size_t>(got);
    }
}

std::string control::get(const std::string& name)
{
    return _connection.ask("get " + name);
}

double control::number(const std::string& name)
{
    return std::strtod(get(name).c_str(), nullptr);
}

double control::set(const std::string& name, double value)
{
    std::ostringstream line;
    line.precision(17);
    line << "set " << name << " " << value;
    const std::string answer = _connection.ask(line.str());
    if (answer.rfind("ok ", 0) != 0) {
        throw uhd::value_error("virtual USRP: " + answer);
    }
    return std::strtod(answer.c_str() + 3, nullptr);
}

void control::set(const std::string& name, const std::string& value)
{
    const std::string answer = _connection.ask("set " + name + " " + value);
    if (answer.rfind("ok", 0) != 0) {
        throw uhd::value_error("virtual USRP: " + answer);
    }
}

} // namespace virtual_usrp
