/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A UHD device module: virtual USRPs of one channel that live in the air of `djscc virtual-usrp`, seen by unmodified programs.
 *
 * UHD loads it from a folder that UHD_MODULE_PATH names. Device arguments: type=virtual (or type=b200, for programs that ask for
 * one), addr=127.0.0.1 (the first radio; 127.0.0.2 the second, ...), serial=..., port=30432.
 */

#include "connection.hpp"
#include "streamers.hpp"

#include <uhd/device.hpp>
#include <uhd/property_tree.hpp>
#include <uhd/types/ranges.hpp>
#include <uhd/types/sensors.hpp>
#include <uhd/types/stream_cmd.hpp>
#include <uhd/types/time_spec.hpp>
#include <uhd/usrp/mboard_eeprom.hpp>
#include <uhd/usrp/subdev_spec.hpp>
#include <uhd/utils/log.hpp>
#include <uhd/utils/static.hpp>

#include <sstream>

namespace virtual_usrp {

namespace {

int port_of(const uhd::device_addr_t& address)
{
    return address.cast<int>("port", DEFAULT_PORT);
}

uhd::meta_range_t range_of(control& radio, const std::string& name)
{
    std::istringstream text(radio.get(name));
    double low = 0, high = 0, step = 0;
    text >> low >> high >> step;
    return uhd::meta_range_t(low, high, step);
}

} // namespace

class device : public uhd::device
{
public:
    explicit device(const uhd::device_addr_t& address)
        : _address(address["addr"]), _port(port_of(address)), _control(std::make_shared<control>(_address, _port))
    {
        _tree = uhd::property_tree::make();
        _tree->create<std::string>("/name").set("virtual USRP");
        const uhd::fs_path board = "/mboards/0";
        const bool as_b200       = address.get("type", "") == "b200";
        _tree->create<std::string>(board / "name").set(as_b200 ? "B200" : "virtual");
        _tree->create<std::string>(board / "codename").set("virtual");
        uhd::usrp::mboard_eeprom_t eeprom;
        eeprom["serial"] = _control->get("serial");
        eeprom["name"]   = "virtual";
        _tree->create<uhd::usrp::mboard_eeprom_t>(board / "eeprom").set(eeprom);
        _tree->create<double>(board / "tick_rate").set_coercer([](double) { return 61.44e6; }).set(61.44e6);
        _tree->create<double>(board / "link_max_rate").set(1e9);
        make_time(board);
        for (const std::string kind : {"clock_source", "time_source"}) {
            const std::vector<std::string> options{"internal", "external", "gpsdo"};
            _tree->create<std::vector<std::string>>(board / kind / "options").set(options);
            _tree->create<std::string>(board / kind / "value").set("internal");
        }
        _tree->create<uhd::sensor_value_t>(board / "sensors" / "ref_locked")
            .set(uhd::sensor_value_t("Ref", true, "locked", "unlocked"));
        make_side(board, "rx", {"TX/RX", "RX2"}, "RX2");
        make_side(board, "tx", {"TX/RX"}, "TX/RX");
        _tree->create<uhd::stream_cmd_t>(board / "rx_dsps" / "0" / "stream_cmd")
            .add_coerced_subscriber([this](const uhd::stream_cmd_t& command) {
                if (auto streamer = _receive.lock()) {
                    streamer->issue_stream_cmd(command);
                }
            });
    }

    uhd::rx_streamer::sptr get_rx_stream(const uhd::stream_args_t& args) override
    {
        auto streamer = std::make_shared<receive_streamer>(_address, _port, args);
        _receive      = streamer;
        return streamer;
    }

    uhd::tx_streamer::sptr get_tx_stream(const uhd::stream_args_t& args) override
    {
        auto streamer = std::make_shared<transmit_streamer>(_address, _port, args);
        _transmit     = streamer;
        return streamer;
    }

    bool recv_async_msg(uhd::async_metadata_t& metadata, double timeout) override
    {
        auto streamer = _transmit.lock();
        return streamer && streamer->recv_async_msg(metadata, timeout);
    }

private:
    const std::string _address;
    const int _port;
    std::shared_ptr<control> _control;
    std::weak_ptr<receive_streamer> _receive;
    std::weak_ptr<transmit_streamer> _transmit;

    uhd::time_spec_t time(const std::string& name)
    {
        std::istringstream text(_control->get(name));
        int64_t full    = 0;
        double fraction = 0;
        text >> full >> fraction;
        return uhd::time_spec_t(full, fraction);
    }

    void set_time(const std::string& name, const uhd::time_spec_t& when)
    {
        std::ostringstream text;
        text.precision(17);
        text << when.get_full_secs() << " " << when.get_frac_secs();
        _control->set(name, text.str());
    }

    void make_time(const uhd::fs_path& board)
    {
        for (const std::string name : {"now", "pps"}) {
            _tree->create<uhd::time_spec_t>(board / "time" / name)
                .set_publisher([this, name]() { return time("time_" + name); })
                .add_coerced_subscriber([this, name](const uhd::time_spec_t& when) { set_time("time_" + name, when); });
        }
    }

    /* A number that the air keeps, held within the range that it allows. */
    void make_number(const uhd::fs_path& path, const std::string& name)
    {
        const auto range = range_of(*_control, name + ".range");
        _tree->create<uhd::meta_range_t>(path / "range").set(range);
        _tree->create<double>(path / "value")
            .set_coercer([this, name, range](double value) { return _control->set(name, range.clip(value, true)); })
            .set(_control->number(name));
    }

    void make_side(
        const uhd::fs_path& board, const std::string& side, const std::vector<std::string>& antennas, const std::string& antenna)
    {
        const uhd::fs_path dsp = board / (side + "_dsps") / "0", end = board / "dboards" / "A" / (side + "_frontends") / "A";
        make_number(dsp / "rate", side + ".rate");
        // What the digital mixer shifts is taken off, or put on, the oscillator's frequency: the air knows their sum.
        const auto shifts = uhd::freq_range_t(-30.72e6, 30.72e6);
        _tree->create<uhd::meta_range_t>(dsp / "freq" / "range").set(shifts);
        _tree->create<double>(dsp / "freq" / "value")
            .set_coercer([this, side, shifts](double value) {
                return _control->set(side + ".shift", shifts.clip(value));
            })
            .set(0.0);
        const uhd::fs_path codec = board / (side + "_codecs") / "A";
        _tree->create<std::string>(codec / "name").set("virtual " + side);
        _tree->create<int>(codec / "gains"); // none, but UHD looks for the folder
        _tree->create<std::string>(end / "name").set("virtual " + side);
        _tree->create<std::string>(end / "connection").set("IQ");
        _tree->create<bool>(end / "enabled").set(true);
        _tree->create<bool>(end / "use_lo_offset").set(false);
        _tree->create<uhd::sensor_value_t>(end / "sensors" / "lo_locked")
            .set(uhd::sensor_value_t("LO", true, "locked", "unlocked"));
        make_number(end / "freq", side + ".frequency");
        make_number(end / "gains" / "PGA", side + ".gain");
        make_number(end / "bandwidth", side + ".bandwidth");
        _tree->create<std::vector<std::string>>(end / "antenna" / "options").set(antennas);
        _tree->create<std::string>(end / "antenna" / "value")
            .add_coerced_subscriber([side, antennas](const std::string& name) {
                for (const auto& known : antennas) {
                    if (known == name) {
                        return;
                    }
                }
                throw uhd::value_error("virtual USRP: " + side + " antenna " + name + " is unknown");
            })
            .set(antenna);
        uhd::usrp::subdev_spec_t spec("A:A");
        _tree->create<uhd::usrp::subdev_spec_t>(board / (side + "_subdev_spec"))
            .add_coerced_subscriber([](const uhd::usrp::subdev_spec_t& wanted) {
                if (wanted.size() != 1 || wanted.front() != uhd::usrp::subdev_spec_pair_t("A", "A")) {
                    throw uhd::value_error("virtual USRP: it has the subdevice A:A only, not " + wanted.to_string());
                }
            })
            .set(spec);
    }
};

namespace {

uhd::device_addrs_t find(const uhd::device_addr_t& hint)
{
    const std::string type = hint.get("type", "virtual");
    uhd::device_addrs_t found;
    if ((type != "virtual" && type != "b200") || hint.has_key("resource")) {
        return found;
    }
    std::string list;
    try {
        list = connection(hint.get("addr", "127.0.0.1"), port_of(hint), "RADIOS").ask("");
    } catch (const uhd::exception&) {
        return found; // nobody is there
    }
    std::istringstream text(list);
    std::string address, serial;
    while (text >> address >> serial) {
        if (hint.get("addr", address) != address || hint.get("serial", serial) != serial) {
            continue;
        }
        uhd::device_addr_t radio;
        radio["type"]    = type;
        radio["addr"]    = address;
        radio["serial"]  = serial;
        radio["name"]    = "virtual";
        radio["product"] = "virtual USRP";
        if (hint.has_key("port")) {
            radio["port"] = hint["port"];
        }
        found.push_back(radio);
    }
    return found;
}

uhd::device::sptr make(const uhd::device_addr_t& address)
{
    return std::make_shared<device>(address);
}

} // namespace

UHD_STATIC_BLOCK(register_virtual_usrp)
{
    uhd::device::register_device(&find, &make, uhd::device::USRP);
}

} // namespace virtual_usrp
