/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One channel of samples in each direction, between UHD's streamer interface and the air. */

#pragma once

#include "connection.hpp"

#include <uhd/stream.hpp>

#include <complex>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace virtual_usrp {

using words = std::vector<std::complex<int16_t>>;

/* Sample formats of the host that are known: fc32, fc64, sc16. */
enum class host_format { FC32, FC64, SC16 };
host_format parse_format(const uhd::stream_args_t& args);

class receive_streamer : public uhd::rx_streamer
{
public:
    receive_streamer(const std::string& address, int port, const uhd::stream_args_t& args);
    size_t get_num_channels() const override { return 1; }
    size_t get_max_num_samps() const override { return 4096; }
    size_t recv(const buffs_type& buffers,
        size_t samples,
        uhd::rx_metadata_t& metadata,
        double timeout,
        bool one_packet) override;
    void issue_stream_cmd(const uhd::stream_cmd_t& command) override;

private:
    connection _connection;
    const host_format _format;
    header _header{};
    words _packet;
    size_t _used       = 0;
    bool _announced    = true; // whether the flags of the packet in hand have been told
    bool next_packet(double timeout);
};

class transmit_streamer : public uhd::tx_streamer
{
public:
    transmit_streamer(const std::string& address, int port, const uhd::stream_args_t& args);
    size_t get_num_channels() const override { return 1; }
    size_t get_max_num_samps() const override { return 4096; }
    size_t send(const buffs_type& buffers, size_t samples, const uhd::tx_metadata_t& metadata, double timeout) override;
    bool recv_async_msg(uhd::async_metadata_t& metadata, double timeout) override;

private:
    connection _connection;
    const host_format _format;
    std::mutex _events;
    words _packet;
};

} // namespace virtual_usrp
