/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "streamers.hpp"

#include <uhd/exception.hpp>
#include <uhd/utils/log.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace virtual_usrp {

namespace {
constexpr float FULL_SCALE = 32767.0f; // as UHD's own converters scale

template <typename T>
void to_host(const std::complex<int16_t>* from, void* to, size_t count)
{
    auto* result = static_cast<std::complex<T>*>(to);
    for (size_t i = 0; i < count; i++) {
        result[i] = {T(from[i].real()) / T(FULL_SCALE), T(from[i].imag()) / T(FULL_SCALE)};
    }
}

template <typename T>
int16_t to_word(T value)
{
    return static_cast<int16_t>(std::lrint(std::clamp(value * T(FULL_SCALE), T(-32768), T(32767))));
}

template <typename T>
void from_host(const void* from, std::complex<int16_t>* to, size_t count)
{
    auto* given = static_cast<const std::complex<T>*>(from);
    for (size_t i = 0; i < count; i++) {
        to[i] = {to_word(given[i].real()), to_word(given[i].imag())};
    }
}

size_t item_size(host_format format)
{
    return format == host_format::FC32 ? 8 : format == host_format::FC64 ? 16 : 4;
}
} // namespace

host_format parse_format(const uhd::stream_args_t& args)
{
    if (args.channels.size() > 1 || (args.channels.size() == 1 && args.channels[0] != 0)) {
        throw uhd::value_error("virtual USRP: it has channel 0 only");
    }
    if (args.cpu_format == "fc32") {
        return host_format::FC32;
    }
    if (args.cpu_format == "fc64") {
        return host_format::FC64;
    }
    if (args.cpu_format == "sc16") {
        return host_format::SC16;
    }
    throw uhd::value_error("virtual USRP: cpu_format " + args.cpu_format + " is unknown; use fc32, fc64 or sc16");
}

receive_streamer::receive_streamer(const std::string& address, int port, const uhd::stream_args_t& args)
    : _connection(address, port, "RX"), _format(parse_format(args))
{
}

bool receive_streamer::next_packet(double timeout)
{
    if (!_connection.readable(timeout)) {
        return false;
    }
    _connection.read(&_header, sizeof(_header));
    _packet.resize(_header.count);
    _connection.read(_packet.data(), _packet.size() * sizeof(_packet[0]));
    _used      = 0;
    _announced = (_header.flags & (AFTER_LOSS | LATE_COMMAND)) == 0;
    return true;
}

size_t receive_streamer::recv(const buffs_type& buffers,
    size_t samples,
    uhd::rx_metadata_t& metadata,
    double timeout,
    bool one_packet)
{
    metadata.reset();
    size_t done = 0;
    while (done < samples) {
        const bool empty = _used == _packet.size() && _announced;
        if (empty && !next_packet(timeout)) {
            metadata.error_code = done ? uhd::rx_metadata_t::ERROR_CODE_NONE : uhd::rx_metadata_t::ERROR_CODE_TIMEOUT;
            return done;
        }
        if (!_announced) { // told alone, once what came before was handed over
            if (done) {
                return done;
            }
            _announced = true;
            const bool late = _header.flags & LATE_COMMAND;
            metadata.error_code =
                late ? uhd::rx_metadata_t::ERROR_CODE_LATE_COMMAND : uhd::rx_metadata_t::ERROR_CODE_OVERFLOW;
            metadata.has_time_spec = true;
            metadata.time_spec     = uhd::time_spec_t(_header.full_seconds, _header.fraction);
            UHD_LOG_FASTPATH(late ? "L" : "O");
            return 0;
        }
        if (done == 0) {
            metadata.has_time_spec   = true;
            metadata.time_spec       = uhd::time_spec_t(_header.full_seconds, _header.fraction + _used / _header.rate);
            metadata.fragment_offset = _used;
        }
        const size_t count = std::min(samples - done, _packet.size() - _used);
        auto* to           = static_cast<char*>(buffers[0]) + done * item_size(_format);
        const auto* from   = _packet.data() + _used;
        switch (_format) {
            case host_format::FC32:
                to_host<float>(from, to, count);
                break;
            case host_format::FC64:
                to_host<double>(from, to, count);
                break;
            case host_format::SC16:
                std::copy(from, from + count, reinterpret_cast<std::complex<int16_t>*>(to));
                break;
        }
        done += count;
        _used += count;
        if (_used == _packet.size() && (_header.flags & LAST)) {
            metadata.end_of_burst = true;
            return done;
        }
        if (one_packet) {
            metadata.more_fragments = _used < _packet.size();
            return done;
        }
    }
    return done;
}

void receive_streamer::issue_stream_cmd(const uhd::stream_cmd_t& command)
{
    std::ostringstream line;
    line.precision(17);
    if (command.stream_mode == uhd::stream_cmd_t::STREAM_MODE_STOP_CONTINUOUS) {
        line << "stop\n";
    } else {
        const bool endless = command.stream_mode == uhd::stream_cmd_t::STREAM_MODE_START_CONTINUOUS;
        line << "start " << (endless ? 0 : command.num_samps) << " " << (command.stream_now ? 0 : 1) << " "
             << command.time_spec.get_full_secs() << " " << command.time_spec.get_frac_secs() << "\n";
    }
    const std::string text = line.str();
    _connection.write(text.data(), text.size());
}

transmit_streamer::transmit_streamer(const std::string& address, int port, const uhd::stream_args_t& args)
    : _connection(address, port, "TX"), _format(parse_format(args))
{
}

size_t transmit_streamer::send(
    const buffs_type& buffers, size_t samples, const uhd::tx_metadata_t& metadata, double timeout)
{
    size_t done = 0;
    do {
        const size_t count = std::min(samples - done, get_max_num_samps());
        if (!_connection.writable(timeout)) {
            return done;
        }
        header next{};
        next.count = static_cast<uint32_t>(count);
        if (done == 0 && metadata.start_of_burst) {
            next.flags |= START_OF_BURST;
        }
        if (done == 0 && metadata.has_time_spec) {
            next.flags |= HAS_TIME;
            next.full_seconds = metadata.time_spec.get_full_secs();
            next.fraction     = metadata.time_spec.get_frac_secs();
        }
        if (done + count == samples && metadata.end_of_burst) {
            next.flags |= END_OF_BURST;
        }
        _packet.resize(count);
        const auto* from = static_cast<const char*>(buffers[0]) + done * item_size(_format);
        switch (_format) {
            case host_format::FC32:
                from_host<float>(from, _packet.data(), count);
                break;
            case host_format::FC64:
                from_host<double>(from, _packet.data(), count);
                break;
            case host_format::SC16:
                std::copy_n(reinterpret_cast<const std::complex<int16_t>*>(from), count, _packet.data());
                break;
        }
        _connection.write(&next, sizeof(next));
        _connection.write(_packet.data(), count * sizeof(_packet[0]));
        done += count;
    } while (done < samples);
    return done;
}

bool transmit_streamer::recv_async_msg(uhd::async_metadata_t& metadata, double timeout)
{
    std::lock_guard<std::mutex> lock(_events);
    if (!_connection.readable(timeout)) {
        return false;
    }
    header event{};
    _connection.read(&event, sizeof(event));
    metadata.channel       = 0;
    metadata.has_time_spec = true;
    metadata.time_spec     = uhd::time_spec_t(event.full_seconds, event.fraction);
    metadata.event_code    = static_cast<uhd::async_metadata_t::event_code_t>(event.count);
    if (metadata.event_code == uhd::async_metadata_t::EVENT_CODE_UNDERFLOW) {
        UHD_LOG_FASTPATH("U");
    } else if (metadata.event_code == uhd::async_metadata_t::EVENT_CODE_TIME_ERROR) {
        UHD_LOG_FASTPATH("L");
    }
    return true;
}

} // namespace virtual_usrp
