output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Address range of the VPC."
  value       = aws_vpc.this.cidr_block
}

output "public_subnet_ids" {
  description = "Public subnets, in the order of the zones."
  value       = [for zone in var.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Private subnets, in the order of the zones."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]

  # What starts in a private subnet wants to reach out at once.
  depends_on = [aws_route.gateway, aws_route.instance, aws_eip_association.instance, aws_vpc_endpoint.interface, aws_vpc_endpoint.s3, aws_vpc_security_group_egress_rule.anywhere, aws_vpc_security_group_egress_rule.flow, aws_vpc_security_group_ingress_rule.flow]
}

output "private_subnets" {
  description = "Private subnets by zone: id and address range."
  value       = { for zone, subnet in aws_subnet.private : zone => { id = subnet.id, cidr = subnet.cidr_block } }

  # What starts in a private subnet wants to reach out at once.
  depends_on = [aws_route.gateway, aws_route.instance, aws_eip_association.instance, aws_vpc_endpoint.interface, aws_vpc_endpoint.s3, aws_vpc_security_group_egress_rule.anywhere, aws_vpc_security_group_egress_rule.flow, aws_vpc_security_group_ingress_rule.flow]
}

output "database_subnet_ids" {
  description = "Database subnets, in the order of the zones."
  value       = [for zone in var.zones : aws_subnet.database[zone].id]
}

output "security_group_ids" {
  description = "Security groups by role."
  value       = { for role, group in aws_security_group.role : role => group.id }
}

output "nat_addresses" {
  description = "Public addresses that the private subnets are seen as from outside."
  value       = [for address in merge(aws_eip.gateway, aws_eip.instance) : address.public_ip]
}

output "nat_gateway_ids" {
  description = "NAT gateways by zone; empty with a NAT instance."
  value       = { for zone, gateway in aws_nat_gateway.this : zone => gateway.id }
}

output "instance_ids" {
  description = "EC2 instances of this module by name."
  value       = { for name, instance in aws_instance.nat : name => instance.id }
}

output "log_group" {
  description = "Log group of the flow logs."
  value       = aws_cloudwatch_log_group.flow.name
}
