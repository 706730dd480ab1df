output "hosts" {
  description = "Host names: shop and api."
  value       = local.hosts
}

output "zone_id" {
  description = "Hosted zone of the domain."
  value       = local.zone_id
}

output "name_servers" {
  description = "Name servers to enter at the parent domain, where the zone was made here."
  value       = var.create_zone ? aws_route53_zone.this[0].name_servers : []
}

output "certificate_arn" {
  description = "Certificate of the domain and its hosts."
  value       = aws_acm_certificate.this.arn
}

output "load_balancer_dns" {
  description = "AWS's name of the load balancer."
  value       = aws_lb.this.dns_name
}

output "load_balancer_suffix" {
  description = "The load balancer as metrics name it."
  value       = aws_lb.this.arn_suffix
}

output "target_group_arn" {
  description = "Target group that the gateway's pods enter."
  value       = aws_lb_target_group.gateway.arn
}

output "target_group_suffix" {
  description = "The target group as metrics name it."
  value       = aws_lb_target_group.gateway.arn_suffix
}

output "api_id" {
  description = "The HTTP API."
  value       = aws_apigatewayv2_api.this.id
}

output "log_groups" {
  description = "Access log of the API and log of the firewall."
  value       = [aws_cloudwatch_log_group.api.name, aws_cloudwatch_log_group.firewall.name]
}
