output "topic_arn" {
  description = "Topic of alarms."
  value       = aws_sns_topic.alarms.arn

  depends_on = [aws_sns_topic_policy.alarms]
}

output "dashboard" {
  description = "Dashboard with a graph for each alarm."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "All alarms."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}

output "log_groups" {
  description = "Log groups of pods and nodes by what is in them."
  value       = { for name, group in aws_cloudwatch_log_group.this : name => group.name }
}
