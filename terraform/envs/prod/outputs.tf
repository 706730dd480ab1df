output "rtc" {
  description = "What rtcctl reads: docs/INFRASTRUCTURE.md."
  value       = module.platform.rtc
}
